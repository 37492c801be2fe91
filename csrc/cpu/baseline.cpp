// The kernel for any machine: SSE2 on x86-64, NEON on ARM.
#include <math.h>
#include <stdint.h>
#include <string.h>

#define ILDFV_VECTOR_BYTES 16
#include "kernel.h"

namespace ildfv {
extern const Kernel baseline_float = kernel<float>("baseline"), baseline_double = kernel<double>("baseline");
}  // namespace ildfv
