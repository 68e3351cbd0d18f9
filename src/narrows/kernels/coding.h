// What the sparse solvers share: the CPU's vectors, sums over them, and how a code is written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

// 64-byte vectors in the compiler's own notation: one AVX-512 register, or what the CPU has.
template <class T>
struct Vector;
template <>
struct Vector<float> {
    typedef float type __attribute__((vector_size(64), aligned(4), may_alias));
    typedef int32_t integer;
    typedef int32_t integers __attribute__((vector_size(64)));
};
template <>
struct Vector<double> {
    typedef double type __attribute__((vector_size(64), aligned(8), may_alias));
    typedef int64_t integer;
    typedef int64_t integers __attribute__((vector_size(64)));
};

template <class T>
using V = typename Vector<T>::type;
template <class T>
constexpr long LANES = 64 / sizeof(T);

template <class T>
V<T> load(const T* p) {
    return *reinterpret_cast<const V<T>*>(p);
}
template <class T>
void store(T* p, V<T> v) {
    *reinterpret_cast<V<T>*>(p) = v;
}

// Two sums side by side: each addition waits for the one before it.
template <class T>
T dot(const T* a, const T* b, long n) {
    V<T> one = {}, two = {};
    long i = 0;
    for (; i + 2 * LANES<T> <= n; i += 2 * LANES<T>) {
        one += load(a + i) * load(b + i);
        two += load(a + i + LANES<T>) * load(b + i + LANES<T>);
    }
    one += two;
    T sum = 0;
    for (long j = 0; j < LANES<T>; ++j) sum += one[j];
    for (; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

// Atoms with their values, ascending, then padding: a value of 0, its atom given as 0.
template <class T>
void write(std::vector<std::pair<long, T>>& kept, int64_t* out_atoms, T* out_values, long width) {
    std::sort(kept.begin(), kept.end());
    for (long i = 0; i < width; ++i) {
        const bool there = i < static_cast<long>(kept.size());
        out_atoms[i] = there ? kept[i].first : 0;
        out_values[i] = there ? kept[i].second : T(0);
    }
}

}  // namespace
