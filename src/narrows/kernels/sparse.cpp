// The lasso by an active set, and least squares on a given support, signal by signal.
//
// Both hold the Cholesky factor of the chosen atoms' Gram matrix. The lasso refreshes the
// correlations c = D (x - z D) of all atoms with the residual after each change of the active
// set: with the Gram matrix G at hand c = c0 - sum_i z_i G_i, |S| rows of K numbers; without
// (many atoms: G would not fit) c = D r directly. A signal is one thread's work from start to
// end, so its code depends on nothing else in the batch.
//
// What is reported of a lasso code is computed from its residual in double precision, whatever the
// precision of the codes. A float signal on which the active set does not come to an end is solved
// again in double.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <tuple>
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
    std::vector<std::pair<long, T>> best;  // the code of least objective so far

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
struct Lasso {
    T ridge, tolerance;
    long nonnegative, rounds, width;
    double longest = 0;  // norm of an atom
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

struct Outcome {
    double objective = 0, gap = 0;
    bool converged = false;
};

// Objective and duality gap of the present code in double, from the residual itself. Of s.c, whose
// entries are off by rounding, it needs to know only which may be the largest; all are looked at
// where s.c does not belong to the code.
template <class T, class U>
Outcome certify(const Active<T>& s, const U* x, const U* dictionary, double lambda,
                const Lasso<T>& options, bool all, std::vector<double>& rest) {
    const auto& p = s.p;
    double l1 = 0, zz = 0, reach = 0, norm2 = 0;
    for (long j = 0; j < p.dim; ++j) {
        rest[j] = x[j];
        norm2 += rest[j] * rest[j];
    }
    for (long i = 0; i < s.count; ++i) {
        const U* d = dictionary + s.atoms[i] * p.dim;
        const double z = s.z[i];
        for (long j = 0; j < p.dim; ++j) rest[j] -= z * d[j];
        l1 += std::abs(z);
        zz += z * z;
        reach += std::abs(z) * std::sqrt(s.entry(s.atoms[i], s.atoms[i]));
    }
    double xr = 0, rr = 0, worst = 0;
    for (long j = 0; j < p.dim; ++j) {
        xr += rest[j] * x[j];
        rr += rest[j] * rest[j];
    }
    const double norm = std::sqrt(norm2);
    const double doubt = (p.dim + s.count + 8) * double(std::numeric_limits<T>::epsilon()) *
                         (norm + reach) * options.longest;
    const double bar = all ? -1 : s.largest(options.nonnegative) - doubt;
    for (long k = 0; k < p.size; ++k) {
        if (!all && (options.nonnegative ? s.c[k] : std::abs(s.c[k])) < bar) continue;
        const U* d = dictionary + k * p.dim;
        double c = 0;
        for (long j = 0; j < p.dim; ++j) c += rest[j] * d[j];
        for (long i = 0; options.ridge > 0 && i < s.count; ++i) {
            if (s.atoms[i] == k) c -= options.ridge * s.z[i];
        }
        worst = std::max(worst, options.nonnegative ? c : std::abs(c));
    }
    Outcome out;
    const double squares = rr + options.ridge * zz;
    out.objective = squares / 2 + lambda * l1;
    const double slack = 4 * p.dim * std::numeric_limits<double>::epsilon() * norm * options.longest;
    const double scale = worst > lambda + slack ? lambda / worst : 1;
    out.gap = std::max(out.objective - scale * xr + scale * scale * squares / 2, 0.0);
    out.converged = out.gap <= options.tolerance * out.objective;
    return out;
}

template <class T>
void enter_start(Active<T>& s, const T* correlations, const Start<T>& given, long row,
                 const Lasso<T>& options, std::vector<T>& sign) {
    const T dependent = std::sqrt(std::numeric_limits<T>::epsilon());
    for (long i = row * given.width; i < (row + 1) * given.width; ++i) {
        const T value = given.values[i];
        if (value == 0 || (options.nonnegative && value < 0) || s.count == s.capacity) continue;
        sign[s.count] = value > 0 ? 1 : -1;
        if (s.append(given.atoms[i], correlations[given.atoms[i]]) < dependent) {
            --s.count;  // a start is a hint: what the others span already adds nothing
            continue;
        }
        s.z[s.count - 1] = value;
    }
}

// Atoms that violate |c_j| <= lambda enter, the worst ones first, a few at a time; false if none.
template <class T>
bool enlarge(Active<T>& s, const T* correlations, T lambda, T worst, const Lasso<T>& options,
             std::vector<T>& sign, std::vector<std::pair<T, long>>& entering) {
    const T dependent = std::sqrt(std::numeric_limits<T>::epsilon());
    entering.clear();
    const T bar = lambda + T(0.4) * (worst - lambda);
    for (long k = 0; k < s.p.size; ++k) {
        const T value = options.nonnegative ? s.c[k] : std::abs(s.c[k]);
        if (value >= bar) entering.emplace_back(-value, k);
    }
    const long wanted = s.count == 0 ? FIRST : std::max<long>(2, s.count / 2);
    const long most =
        std::min<long>({static_cast<long>(entering.size()), wanted, s.capacity - s.count});
    std::partial_sort(entering.begin(), entering.begin() + most, entering.end());
    bool grown = false;
    for (long e = 0; e < most; ++e) {
        const long atom = entering[e].second;
        if (std::find(s.atoms.begin(), s.atoms.begin() + s.count, atom) !=
            s.atoms.begin() + s.count) {
            continue;  // active already: only rounding makes it violate
        }
        sign[s.count] = s.c[atom] > 0 ? 1 : -1;
        if (s.append(atom, correlations[atom]) < dependent && (grown || lambda == 0)) {
            --s.count;  // in the span of what has just entered: it may violate no longer
            continue;
        }
        grown = true;
    }
    return grown;
}

// Rounds in which the objective may fail to fall before a signal is given up.
constexpr long PATIENCE = 8;

template <class T>
Outcome lasso_one(Active<T>& s, const T* x, const T* start, long row, T lambda,
                  const Lasso<T>& options, const Start<T>& given, std::vector<T>& sign,
                  std::vector<std::pair<T, long>>& entering, std::vector<double>& rest) {
    const auto& p = s.p;
    const T norm2 = dot(x, x, p.dim);
    s.count = 0;
    std::copy(start, start + p.size, s.c.data());
    enter_start(s, start, given, row, options, sign);
    if (s.count > 0) {
        settle(s, sign, lambda);
        s.refresh(start, x);
    }
    double least = std::numeric_limits<double>::infinity();
    s.best.clear();
    for (long round = 0, stalled = 0;; ++round) {
        T l1 = 0, zc0 = 0, zc = 0, zz = 0;
        for (long i = 0; i < s.count; ++i) {
            l1 += std::abs(s.z[i]);
            zc0 += s.z[i] * s.c0[i];
            zc += s.z[i] * s.c[s.atoms[i]];
            zz += s.z[i] * s.z[i];
            s.c[s.atoms[i]] -= options.ridge * s.z[i];  // correlation of the augmented problem
        }
        const T worst = s.largest(options.nonnegative);
        const T xr = norm2 - zc0, rr = xr - zc;  // <x, r>, |r|^2, up to rounding
        const T objective = rr / 2 + lambda * l1 + options.ridge * zz / 2;
        const T scale = worst > lambda ? lambda / worst : T(1);
        const T dual = scale * xr - scale * scale * (rr + options.ridge * zz) / 2;
        const bool fell = objective < least * (1 - 4 * std::numeric_limits<T>::epsilon());
        stalled = fell ? 0 : stalled + 1;
        if (fell) {
            least = objective;
            s.best.clear();
            for (long i = 0; i < s.count; ++i) s.best.emplace_back(s.atoms[i], s.z[i]);
        }
        const bool last = round == options.rounds || stalled > PATIENCE || !std::isfinite(objective);
        if (last && !fell) {  // back to the best code
            s.count = static_cast<long>(s.best.size());
            for (long i = 0; i < s.count; ++i) std::tie(s.atoms[i], s.z[i]) = s.best[i];
            return certify(s, x, p.dictionary, double(lambda), options, true, rest);
        }
        if (last || !(objective - dual > options.tolerance * objective) || worst <= lambda) {
            const auto out =
                certify(s, x, p.dictionary, double(lambda), options, false, rest);
            if (out.converged || last || worst <= lambda) return out;
        }
        if (!enlarge(s, start, lambda, worst, options, sign, entering)) {
            return certify(s, x, p.dictionary, double(lambda), options, false, rest);
        }
        settle(s, sign, lambda);
        s.refresh(start, x);
    }
}

// Keeps the active atoms alone, at most `width` of them, with values as they will be written.
template <class T, class Out>
bool trim(Active<T>& s, long width, std::vector<std::pair<long, Out>>& kept) {
    kept.clear();
    for (long i = 0; i < s.count; ++i) {
        const Out value = static_cast<Out>(s.z[i]);
        if (value != 0) kept.emplace_back(s.atoms[i], value);
    }
    const bool fits = static_cast<long>(kept.size()) <= width;
    if (!fits) {
        std::sort(kept.begin(), kept.end(),
                  [](auto& a, auto& b) { return std::abs(a.second) > std::abs(b.second); });
        kept.resize(width);
    }
    s.count = static_cast<long>(kept.size());
    for (long i = 0; i < s.count; ++i) {
        s.atoms[i] = kept[i].first;
        s.z[i] = kept[i].second;
    }
    return fits;
}

// What one thread solves in: the problem's own precision, and double once a signal asks for it.
template <class T>
struct Solver {
    const Problem<T>& p;
    const Lasso<T>& options;
    // The floor makes an atom in the span of the others enter with a nearly flat direction,
    // along which one of them leaves.
    Active<T> s;
    std::vector<T> sign;
    std::vector<std::pair<T, long>> entering;
    std::vector<std::pair<long, T>> kept;
    std::vector<double> rest;

    std::vector<double> wide, signal, correlations, wide_sign;
    std::vector<std::pair<double, long>> wide_entering;
    std::unique_ptr<Problem<double>> again;
    std::unique_ptr<Active<double>> exact;

    Solver(const Problem<T>& problem, const Lasso<T>& options, long capacity)
        : p(problem), options(options),
          s(problem, capacity, options.ridge, 32 * std::numeric_limits<T>::epsilon()),
          sign(capacity + 1), rest(problem.dim) {}

    Outcome solve(long row, T lambda, const Start<T>& given) {
        const T* x = p.signals + row * p.dim;
        auto out = lasso_one(s, x, p.correlations + row * p.size, row, lambda, options, given,
                             sign, entering, rest);
        if (!trim(s, options.width, kept)) {
            out = certify(s, x, p.dictionary, double(lambda), options, true, rest);
        }
        const bool finite = std::all_of(x, x + p.dim, [](T v) { return std::isfinite(v); });
        if (sizeof(T) == sizeof(double) || out.converged || !finite) return out;
        return in_double(x, lambda);
    }

    Outcome in_double(const T* x, T lambda) {
        if (!exact) {
            wide.assign(p.dictionary, p.dictionary + p.size * p.dim);
            correlations.resize(p.size);
            again.reset(new Problem<double>{nullptr, wide.data(), nullptr, nullptr, 1, p.dim,
                                            p.size});
            exact.reset(new Active<double>(*again, s.capacity, options.ridge,
                                           32 * std::numeric_limits<double>::epsilon()));
            wide_sign.resize(s.capacity + 1);
        }
        signal.assign(x, x + p.dim);
        for (long k = 0; k < p.size; ++k) {
            correlations[k] = dot(wide.data() + k * p.dim, signal.data(), p.dim);
        }
        const Lasso<double> wider{options.ridge,  options.tolerance, options.nonnegative,
                                  options.rounds, options.width,     options.longest};
        lasso_one(*exact, signal.data(), correlations.data(), 0, double(lambda), wider,
                  {nullptr, nullptr, 0}, wide_sign, wide_entering, rest);
        trim(*exact, options.width, kept);
        return certify(*exact, signal.data(), wide.data(), double(lambda), wider, true, rest);
    }
};

template <class T>
void lasso(const Problem<T>& p, const T* lambdas, Lasso<T> options, const Start<T>& given,
           int threads, int64_t* atoms, T* values, T* objective, T* gap, uint8_t* converged) {
    const long capacity = options.ridge > 0 ? p.size : std::min(p.size, 2 * p.dim + 16);
    for (long k = 0; k < p.size; ++k) {
        const T* d = p.dictionary + k * p.dim;
        options.longest = std::max(options.longest, std::sqrt(double(dot(d, d, p.dim))));
    }
#pragma omp parallel num_threads(threads)
    {
        Solver<T> solver(p, options, capacity);
#pragma omp for schedule(dynamic, 16)
        for (long row = 0; row < p.n; ++row) {
            const auto out = solver.solve(row, lambdas[row], given);
            write(solver.kept, atoms + row * options.width, values + row * options.width,
                  options.width);
            objective[row] = static_cast<T>(out.objective);
            // Rounded up: a bound stays one.
            gap[row] = static_cast<T>(out.gap * (1 + std::numeric_limits<T>::epsilon()));
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
                if (!mask[row * width + i]) continue;
                s.append(atoms[row * width + i], 0);
                s.solved[s.count - 1] = right[row * width + i];
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
