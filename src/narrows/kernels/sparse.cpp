// The lasso by an active set, and least squares on a given support, signal by signal.
//
// Both hold the Cholesky factor of the chosen atoms' Gram matrix. The lasso refreshes the
// correlations c = D (x - z D) of all atoms with the residual after each change of the active
// set: with the Gram matrix G at hand c = c0 - sum_i z_i G_i, |S| rows of K numbers; without
// (many atoms: G would not fit) c = D r directly. A signal is one thread's work from start to
// end, so its code depends on nothing else in the batch.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "coding.h"

namespace {

template <class T>
struct Problem {
    const T* signals;       // [n, dim]
    const T* dictionary;    // [size, dim]
    const T* correlations;  // [n, size]: D x
    const T* gram;          // [size, size], or null
    long n, dim, size;
};

// The chosen atoms of one signal, with the Cholesky factor of (Gram + ridge) among them.
template <class T>
struct Active {
    const Problem<T>& p;
    long capacity, count = 0;
    T ridge, floor;
    std::vector<long> atoms;
    std::vector<T> z, c0, factor, inverse, solved, residual, c;

    Active(const Problem<T>& problem, long capacity, T ridge, T floor)
        : p(problem), capacity(capacity), ridge(ridge), floor(floor), atoms(capacity),
          z(capacity), c0(capacity), factor(capacity * capacity), inverse(capacity),
          solved(capacity), residual(problem.gram ? 0 : problem.dim), c(problem.size) {}

    T entry(long a, long b) const {
        return p.gram ? p.gram[a * p.size + b]
                      : dot(p.dictionary + a * p.dim, p.dictionary + b * p.dim, p.dim);
    }

    // Row `row` of the factor, from the rows before it. Returns the pivot before its floor.
    T factorise(long row) {
        T* l = factor.data() + row * capacity;
        const T diagonal = entry(atoms[row], atoms[row]) + ridge;
        T pivot = diagonal;
        for (long i = 0; i < row; ++i) {
            const T* li = factor.data() + i * capacity;
            l[i] = (entry(atoms[row], atoms[i]) - dot(l, li, i)) * inverse[i];
            pivot -= l[i] * l[i];
        }
        const T kept = std::max(pivot, floor * diagonal);
        l[row] = std::sqrt(kept);
        inverse[row] = 1 / l[row];
        return pivot / diagonal;
    }

    T append(long atom, T correlation) {
        atoms[count] = atom;
        c0[count] = correlation;
        z[count] = 0;
        return factorise(count++);
    }

    void remove(long at) {
        for (long i = at; i + 1 < count; ++i) {
            atoms[i] = atoms[i + 1];
            z[i] = z[i + 1];
            c0[i] = c0[i + 1];
        }
        --count;
        for (long i = at; i < count; ++i) factorise(i);
    }

    // solved <- (L L^T)^-1 solved
    void solve() {
        for (long i = 0; i < count; ++i) {
            const T* l = factor.data() + i * capacity;
            solved[i] = (solved[i] - dot(l, solved.data(), i)) * inverse[i];
        }
        for (long i = count - 1; i >= 0; --i) {
            const T* l = factor.data() + i * capacity;
            const T value = solved[i] *= inverse[i];
            for (long j = 0; j < i; ++j) solved[j] -= value * l[j];
        }
    }

    // c <- D (x - z D) for all atoms.
    void refresh(const T* start, const T* x) {
        if (p.gram) {
            constexpr long W = LANES<T>;
            long k = 0;
            for (; k + 4 * W <= p.size; k += 4 * W) {
                V<T> a = load(start + k), b = load(start + k + W);
                V<T> d = load(start + k + 2 * W), e = load(start + k + 3 * W);
                for (long i = 0; i < count; ++i) {
                    const T* g = p.gram + atoms[i] * p.size + k;
                    const T zi = z[i];
                    a -= zi * load(g);
                    b -= zi * load(g + W);
                    d -= zi * load(g + 2 * W);
                    e -= zi * load(g + 3 * W);
                }
                store(c.data() + k, a);
                store(c.data() + k + W, b);
                store(c.data() + k + 2 * W, d);
                store(c.data() + k + 3 * W, e);
            }
            for (; k < p.size; ++k) {
                T sum = start[k];
                for (long i = 0; i < count; ++i) sum -= z[i] * p.gram[atoms[i] * p.size + k];
                c[k] = sum;
            }
            return;
        }
        std::copy(x, x + p.dim, residual.data());
        for (long i = 0; i < count; ++i) {
            const T* d = p.dictionary + atoms[i] * p.dim;
            for (long j = 0; j < p.dim; ++j) residual[j] -= z[i] * d[j];
        }
        for (long k = 0; k < p.size; ++k) {
            c[k] = dot(p.dictionary + k * p.dim, residual.data(), p.dim);
        }
    }

    // Largest magnitude in c, or largest value where nonnegative.
    T largest(bool nonnegative) const {
        constexpr long W = LANES<T>;
        V<T> best = {};
        long k = 0;
        for (; k + W <= p.size; k += W) {
            V<T> v = load(c.data() + k);
            if (!nonnegative) v = v < 0 ? -v : v;
            best = v > best ? v : best;
        }
        T value = 0;
        for (long i = 0; i < W; ++i) value = std::max(value, best[i]);
        for (; k < p.size; ++k) {
            value = std::max(value, nonnegative ? c[k] : std::abs(c[k]));
        }
        return value;
    }
};

template <class T>
void write_code(const Active<T>& s, std::vector<std::pair<long, T>>& kept, int64_t* out_atoms,
                T* out_values, long width) {
    kept.clear();
    for (long i = 0; i < s.count; ++i) {
        if (s.z[i] != 0) kept.emplace_back(s.atoms[i], s.z[i]);
    }
    if (static_cast<long>(kept.size()) > width) {  // rounding only: keep the largest
        std::sort(kept.begin(), kept.end(),
                  [](auto& a, auto& b) { return std::abs(a.second) > std::abs(b.second); });
        kept.resize(width);
    }
    write(kept, out_atoms, out_values, width);
}

template <class T>
struct Lasso {
    T ridge, tolerance;
    long nonnegative, rounds, width;
};

// Minimises over the orthant of the signs given, dropping atoms that reach 0 on the way.
template <class T>
void settle(Active<T>& s, std::vector<T>& sign, T lambda) {
    while (s.count > 0) {
        for (long i = 0; i < s.count; ++i) s.solved[i] = s.c0[i] - lambda * sign[i];
        s.solve();
        // The farthest point on the way to the minimum at which no sign has changed.
        T step = 1;
        long first = -1;
        for (long i = 0; i < s.count; ++i) {
            if (s.solved[i] * sign[i] > 0) continue;
            const T travelled = s.z[i] - s.solved[i];
            const T reach = travelled == 0 ? T(0) : s.z[i] / travelled;
            if (first < 0 || reach < step) {
                step = std::min(reach, T(1));
                first = i;
            }
        }
        for (long i = 0; i < s.count; ++i) s.z[i] += step * (s.solved[i] - s.z[i]);
        if (first < 0) return;
        s.remove(first);
        sign.erase(sign.begin() + first);
        sign.push_back(0);
    }
}

// Codes to start from, [n, width]; values of 0 are padding, and no atoms at all mean zero.
template <class T>
struct Start {
    const int64_t* atoms;
    const T* values;
    long width;
};

// Atoms that enter at once where there are none: fewer take more rounds, more are dropped again.
constexpr long FIRST = 6;

template <class T>
struct Outcome {
    T objective, gap;
    bool converged;
};

template <class T>
Outcome<T> lasso_one(Active<T>& s, long row, T lambda, const Lasso<T>& options,
                     const Start<T>& given, std::vector<T>& sign,
                     std::vector<std::pair<T, long>>& entering) {
    const auto& p = s.p;
    const T* x = p.signals + row * p.dim;
    const T* start = p.correlations + row * p.size;
    const T norm2 = dot(x, x, p.dim);
    s.count = 0;
    std::copy(start, start + p.size, s.c.data());
    Outcome<T> out{norm2 / 2, 0, false};
    const T dependent = std::sqrt(std::numeric_limits<T>::epsilon());
    for (long i = row * given.width; i < (row + 1) * given.width; ++i) {
        const T value = given.values[i];
        if (value == 0 || (options.nonnegative && value < 0) || s.count == s.capacity) continue;
        sign[s.count] = value > 0 ? 1 : -1;
        if (s.append(given.atoms[i], start[given.atoms[i]]) < dependent) {
            --s.count;  // a start is a hint: what the others span already adds nothing
            continue;
        }
        s.z[s.count - 1] = value;
    }
    if (s.count > 0) {
        settle(s, sign, lambda);
        s.refresh(start, x);
    }
    for (long round = 0;; ++round) {
        T l1 = 0, zc0 = 0, zc = 0, zz = 0;
        for (long i = 0; i < s.count; ++i) {
            l1 += std::abs(s.z[i]);
            zc0 += s.z[i] * s.c0[i];
            zc += s.z[i] * s.c[s.atoms[i]];
            zz += s.z[i] * s.z[i];
            s.c[s.atoms[i]] -= options.ridge * s.z[i];  // correlation of the augmented problem
        }
        const T worst = s.largest(options.nonnegative);
        const T xr = norm2 - zc0, rr = xr - zc;  // <x, r>, |r|^2
        out.objective = rr / 2 + lambda * l1 + options.ridge * zz / 2;
        const T scale = worst > lambda ? lambda / worst : T(1);
        const T dual = scale * xr - scale * scale * (rr + options.ridge * zz) / 2;
        out.gap = std::max(out.objective - dual, T(0));
        out.converged = out.gap <= options.tolerance * out.objective || out.objective <= 0 ||
                        worst <= lambda;
        if (out.converged || round == options.rounds) return out;
        // Atoms that violate |c_j| <= lambda enter, the worst ones first, a few at a time.
        entering.clear();
        const T bar = lambda + T(0.4) * (worst - lambda);
        for (long k = 0; k < p.size; ++k) {
            const T value = options.nonnegative ? s.c[k] : std::abs(s.c[k]);
            if (value >= bar) entering.emplace_back(-value, k);
        }
        const long wanted = s.count == 0 ? FIRST : std::max<long>(2, s.count / 2);
        const long most = std::min<long>({static_cast<long>(entering.size()), wanted,
                                          s.capacity - s.count});
        std::partial_sort(entering.begin(), entering.begin() + most, entering.end());
        bool grown = false;
        for (long e = 0; e < most; ++e) {
            const long atom = entering[e].second;
            if (std::find(s.atoms.begin(), s.atoms.begin() + s.count, atom) !=
                s.atoms.begin() + s.count) {
                continue;  // active already: only rounding makes it violate
            }
            sign[s.count] = s.c[atom] > 0 ? 1 : -1;
            if (s.append(atom, start[atom]) < dependent && grown) {
                --s.count;  // in the span of what has just entered: it may violate no longer
                continue;
            }
            grown = true;
        }
        if (!grown) return out;
        settle(s, sign, lambda);
        s.refresh(start, x);
    }
}

template <class T>
void lasso(const Problem<T>& p, const T* lambdas, const Lasso<T>& options,
           const Start<T>& given, int threads, int64_t* atoms, T* values, T* objective, T* gap,
           uint8_t* converged) {
    const long capacity = options.ridge > 0 ? p.size : std::min(p.size, 2 * p.dim + 16);
#pragma omp parallel num_threads(threads)
    {
        // The floor makes an atom in the span of the others enter with a nearly flat
        // direction, along which one of them leaves.
        Active<T> s(p, capacity, options.ridge, 32 * std::numeric_limits<T>::epsilon());
        std::vector<T> sign(capacity + 1);
        std::vector<std::pair<T, long>> entering;
        std::vector<std::pair<long, T>> kept;
#pragma omp for schedule(dynamic, 16)
        for (long row = 0; row < p.n; ++row) {
            const auto out = lasso_one(s, row, lambdas[row], options, given, sign, entering);
            write_code(s, kept, atoms + row * options.width, values + row * options.width,
                       options.width);
            objective[row] = out.objective;
            gap[row] = out.gap;
            converged[row] = out.converged;
        }
    }
}

// solution <- (D_S D_S^T + ridge)^-1 right, on the active atoms (mask != 0) of each signal.
template <class T>
void solve_on_support(const Problem<T>& p, const int64_t* atoms, const uint8_t* mask,
                      const T* right, long width, T ridge, int threads, T* solution) {
#pragma omp parallel num_threads(threads)
    {
        Active<T> s(p, width, ridge, 32 * std::numeric_limits<T>::epsilon());
#pragma omp for schedule(dynamic, 32)
        for (long row = 0; row < p.n; ++row) {
            s.count = 0;
            for (long i = 0; i < width; ++i) {
                if (mask[row * width + i]) {
                    s.append(atoms[row * width + i], 0);
                    s.solved[s.count - 1] = right[row * width + i];
                }
            }
            s.solve();
            for (long i = 0, j = 0; i < width; ++i) {
                solution[row * width + i] = mask[row * width + i] ? s.solved[j++] : T(0);
            }
        }
    }
}

}  // namespace

#define NARROWS_SPARSE(T, SUFFIX)                                                              \
    extern "C" void lasso_##SUFFIX(                                                            \
        const T* signals, const T* dictionary, const T* correlations, const T* gram, long n,   \
        long dim, long size, const T* lambdas, double ridge, double tolerance,                 \
        long nonnegative, long rounds, long width, const int64_t* start_atoms,                 \
        const T* start_values, long start_width, long threads, int64_t* atoms, T* values,       \
        T* objective, T* gap, uint8_t* converged) {                                            \
        lasso<T>({signals, dictionary, correlations, gram, n, dim, size}, lambdas,             \
                 {static_cast<T>(ridge), static_cast<T>(tolerance), nonnegative, rounds,       \
                  width},                                                                      \
                 {start_atoms, start_values, start_width}, threads, atoms, values, objective,  \
                 gap, converged);                                                              \
    }                                                                                          \
    extern "C" void solve_##SUFFIX(const T* dictionary, const T* gram, long n, long dim,       \
                                   long size, const int64_t* atoms, const uint8_t* mask,       \
                                   const T* right, long width, double ridge, long threads,      \
                                   T* solution) {                                              \
        solve_on_support<T>({nullptr, dictionary, nullptr, gram, n, dim, size}, atoms, mask,   \
                            right, width, static_cast<T>(ridge), threads, solution);           \
    }

NARROWS_SPARSE(float, float32)
NARROWS_SPARSE(double, float64)
