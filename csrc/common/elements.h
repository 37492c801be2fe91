// Element types of the descriptors, for host and device. The codes are those of ildfv/kernels/elements.py.
#pragma once

namespace ildfv {

enum Element { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2, BFLOAT16 = 3, UINT8 = 4 };

}  // namespace ildfv
