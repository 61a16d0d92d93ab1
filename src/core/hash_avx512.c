/* Compiled for processors with AVX-512, see CMakeLists.txt. */
#include "core/hash_long.h"

const struct kvt_hash_long kvt_hash_avx512 = {kvt_hash_long_bytes,
                                              kvt_hash_long_slices};
