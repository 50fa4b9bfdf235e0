"""C++ for torch's operations in vectors of eight chains: V is a number of each, M a truth value of each."""

from __future__ import annotations

PRELUDE = r"""
#include <stddef.h>
#include <math.h>
#define OUT __attribute__((noinline))
typedef double V __attribute__((vector_size(64)));
typedef long M __attribute__((vector_size(64)));
typedef double H __attribute__((vector_size(32)));
static const V zero = {};
static inline V to(V x) { return x; }
static inline V to(double x) { return zero + x; }
static inline V to(M x) { return x ? zero + 1.0 : zero; }
static inline M is(M x) { return x; }
static inline M is(bool x) { return (M){} - (long)x; }
static inline M is(V x) { return x != zero; }
#define EACH(name, call) static OUT V f_##name(V x) { V y; for (int l = 0; l < 8; l++) y[l] = call(x[l]); return y; }
#ifdef MVEC
extern "C" {
H _ZGVdN4v_exp(H); H _ZGVdN4v_log(H); H _ZGVdN4v_log1p(H); H _ZGVdN4v_expm1(H); H _ZGVdN4v_tanh(H);
H _ZGVdN4v_sin(H); H _ZGVdN4v_cos(H); H _ZGVdN4v_erf(H); H _ZGVdN4v_atan(H); H _ZGVdN4vv_pow(H, H);
}
union U { V v; H h[2]; };
#define PAIR(name) static OUT V f_##name(V x) { \
  U u; u.v = x; u.h[0] = _ZGVdN4v_##name(u.h[0]); u.h[1] = _ZGVdN4v_##name(u.h[1]); return u.v; }
PAIR(exp) PAIR(log) PAIR(log1p) PAIR(expm1) PAIR(tanh) PAIR(sin) PAIR(cos) PAIR(erf) PAIR(atan)
static OUT V f_pow(V x, V y) {
  U u, w; u.v = x; w.v = y; for (int i = 0; i < 2; i++) u.h[i] = _ZGVdN4vv_pow(u.h[i], w.h[i]); return u.v; }
#else
EACH(exp, exp) EACH(log, log) EACH(log1p, log1p) EACH(expm1, expm1) EACH(tanh, tanh)
EACH(sin, sin) EACH(cos, cos) EACH(erf, erf) EACH(atan, atan)
static OUT V f_pow(V x, V y) { V z; for (int l = 0; l < 8; l++) z[l] = pow(x[l], y[l]); return z; }
#endif
EACH(lgamma, lgamma) EACH(sqrt, sqrt) EACH(floor, floor) EACH(erfc, erfc)
static double digamma(double x) {
  if (x == 0) return -copysign(INFINITY, x);
  if (x < 0) { if (x == floor(x)) return NAN; return digamma(1 - x) - M_PI / tan(M_PI * x); }
  double s = 0; while (x < 10) { s -= 1 / x; x += 1; }
  double z = 1 / (x * x);
  double p = z * (1./12 - z * (1./120 - z * (1./252 - z * (1./240 - z * (5./660 - z * (691./32760 - z / 12.))))));
  return s + log(x) - 0.5 / x - p;
}
EACH(digamma, digamma)
static inline V f_abs(V x) { return x < zero ? -x : x + 0.0; }
static inline V f_max(V x, V y) { return (x > y) | (x != x) ? x : y; }
static inline V f_min(V x, V y) { return (x < y) | (x != x) ? x : y; }
static OUT V f_sigmoid(V x) { return 1.0 / (1.0 + f_exp(-x)); }
static inline V f_sign(V x) { return (x > zero ? zero + 1.0 : zero) - (x < zero ? zero + 1.0 : zero); }
static OUT V f_logsig(V x) { return f_min(x, zero) - f_log1p(f_exp(-f_abs(x))); }
static OUT V f_softplus(V x, double b, double t) { return x * b > zero + t ? x : f_log1p(f_exp(x * b)) / b; }
static OUT V f_softplus_slope(V g, V x, double b, double t) { return x * b > zero + t ? g : g * f_sigmoid(x * b); }
"""

VALUES = {
    "add.Tensor": "{0} + {alpha} * {1}",
    "add.Scalar": "{0} + {alpha} * {1}",
    "sub.Tensor": "{0} - {alpha} * {1}",
    "sub.Scalar": "{0} - {alpha} * {1}",
    "rsub.Scalar": "{1} - {alpha} * {0}",
    "rsub.Tensor": "{1} - {alpha} * {0}",
    "mul.Tensor": "{0} * {1}",
    "mul.Scalar": "{0} * {1}",
    "div.Tensor": "{0} / {1}",
    "div.Scalar": "{0} / {1}",
    "pow.Tensor_Tensor": "f_pow({0}, {1})",
    "neg": "-{0}",
    "reciprocal": "1.0 / {0}",
    "square": "{0} * {0}",
    "rsqrt": "1.0 / f_sqrt({0})",
    "clone": "{0}",
    "copy": "{1}",
    "_to_copy": "{0}",
    "fill.Scalar": "to({1})",
    "fill.Tensor": "{1}",
    "zero": "zero",
    "sigmoid_backward": "{0} * (1.0 - {1}) * {1}",
    "tanh_backward": "{0} * (1.0 - {1} * {1})",
    "softplus": "f_softplus({0}, {1c}, {2c})",
    "softplus_backward": "f_softplus_slope({0}, {1}, {2c}, {3c})",
    "log_sigmoid_backward": "{0} * f_sigmoid(-{1})",
    "where.self": "({0m} ? {1} : {2})",
    "where.ScalarSelf": "({0m} ? {1} : {2})",
    "where.ScalarOther": "({0m} ? {1} : {2})",
    "masked_fill.Scalar": "({1m} ? {2} : {0})",
    "masked_fill.Tensor": "({1m} ? {2} : {0})",
    "maximum": "f_max({0}, {1})",
    "minimum": "f_min({0}, {1})",
    "clamp_min": "f_max({0}, {1})",
    "clamp_max": "f_min({0}, {1})",
    "binary_cross_entropy_with_logits": "((1.0 - {1}) * {0} - f_logsig({0}))",
    "sgn": "f_sign({0})",
    "threshold_backward": "({1} <= {2} ? zero : {0})",
    "xlogy.Tensor": "({0} == zero ? zero : {0} * f_log({1}))",
    "xlogy.OutTensor": "({0} == zero ? zero : {0} * f_log({1}))",
    **{
        name: f"f_{name}({{0}})"
        for name in (
            *("exp", "log", "log1p", "expm1", "tanh", "sin", "cos", "erf", "erfc", "atan", "lgamma", "sqrt", "floor"),
            *("abs", "sigmoid", "sign", "digamma"),
        )
    },
}
"""Operations number by number, as text of their arguments: {0} a number, {1m} a truth value, {1c} a constant."""

TRUTHS = {
    **{
        f"{name}.{kind}": f"({{0}} {sign} {{1}})"
        for name, sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items()
        for kind in ("Scalar", "Tensor")
    },
    "logical_not": "({0m} == (M){{}})",
    "bitwise_not": "({0m} == (M){{}})",
    "logical_and": "({0m} & {1m})",
    "bitwise_and.Tensor": "({0m} & {1m})",
    "logical_or": "({0m} | {1m})",
    "bitwise_or.Tensor": "({0m} | {1m})",
    "isnan": "({0} != {0})",
}
"""Operations number by number whose result is true or false."""
