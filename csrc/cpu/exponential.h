// e^x, for posteriors.
#pragma once

#include "vectors.h"

namespace ildfv {
namespace {

// e^x for x ≤ 0, relative error < 1.2e-7; 0 below −87.
inline vec<float> exponential(vec<float> x) {
    typedef Lanes<float>::unsigneds unsigneds;
    const vec<float> shift = all(12582912.0f);  // 1.5·2^23: adding it rounds to the nearest integer
    const vec<float> z = x * 1.44269504088896341f + shift;
    const vec<float> n = z - shift;
    vec<float> r = x - n * 0.693145751953125f;  // ln 2 in two parts: the first times n is exact
    r = r - n * 1.42860682030941723212e-6f;
    vec<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const unsigneds power = ((unsigneds)z << 23) + (unsigneds)all(1.0f);
    const vec<float> e = p * (vec<float>)power;
    return x > all(-87.0f) ? e : vec<float>{};
}

// e^x for x ≤ 0, relative error < 1e-15; 0 below −708.
inline vec<double> exponential(vec<double> x) {
    typedef Lanes<double>::unsigneds unsigneds;
    const vec<double> shift = all(6755399441055744.0);  // 1.5·2^52
    const vec<double> z = x * 1.44269504088896340736 + shift;
    const vec<double> n = z - shift;
    vec<double> r = x - n * 6.93147180369123816490e-1;
    r = r - n * 1.90821492927058770002e-10;
    vec<double> p = all(1.0 / 6227020800.0);  // Taylor to r^13/13!, |r| ≤ ln 2 / 2
    const double factorials[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0,
                                 120.0,       24.0,       6.0,       2.0,      1.0,     1.0};
    for (double f : factorials) p = p * r + 1.0 / f;
    const unsigneds power = ((unsigneds)z << 52) + (unsigneds)all(1.0);
    const vec<double> e = p * (vec<double>)power;
    return x > all(-708.0) ? e : vec<double>{};
}

}  // namespace
}  // namespace ildfv
