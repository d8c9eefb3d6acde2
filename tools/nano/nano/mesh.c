/* Skinned people: pose the vertices, find the nearest triangle of each sample, shade the pixels.
   One source for both: g++ runs it on a CPU, nvcc (with -DGPU) on a GPU. Arrays are described in mesh.py. */
#ifdef GPU
#define FN static __device__ __forceinline__
typedef short i16;
typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#else
#include <cmath>
#include <cstdint>
#define FN static inline
FN float rsqrtf(float x) { return 1 / sqrtf(x); }
typedef int16_t i16;
typedef int8_t i8;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
#endif
#define BONES 64
#define SHAPES 9
#define PARTS 7
#define EYE 5
#define EMPTY 0xffffffffffffffffULL

struct People { /* of a file, all people in a row */
  const i16 *rest; const i8 *normal; const u8 *bone, *weight, *colour, *part; const i16 *shape, *delta; const u16 *tri;
  const int *rest_start, *delta_start, *tri_start, *rest_count, *tri_count; const float *eyes;
};
struct Scene { /* of a batch, frame by frame */
  const int *who; const float *bones, *weights, *camera, *look, *light; float *posed; u64 *nearest; float *out;
  int most, width, height, ss;
};

FN void pose_one(const People p, const Scene s, long f, int v) {
  const int c = s.who[f];
  if (v >= p.rest_count[c]) return;
  const long at = p.rest_start[c] + v;
  float x[3], n[3], y[3] = {0, 0, 0}, m[3] = {0, 0, 0};
  for (int k = 0; k < 3; k++) { x[k] = p.rest[3 * at + k] / 16384.0f; n[k] = p.normal[3 * at + k] / 127.0f; }
  if (p.shape[at] >= 0) {
    const i16 *d = p.delta + 3L * SHAPES * (p.delta_start[c] + p.shape[at]);
    for (int e = 0; e < SHAPES; e++)
      for (int k = 0; k < 3; k++) x[k] += s.weights[f * SHAPES + e] * d[3 * e + k] / 262144.0f;
  }
  for (int k = 0; k < 4; k++) {
    const float w = p.weight[4 * at + k] / 255.0f;
    if (w == 0) continue;
    const float *b = s.bones + (f * BONES + p.bone[4 * at + k]) * 12;
    for (int r = 0; r < 3; r++) {
      y[r] += w * (b[4 * r] * x[0] + b[4 * r + 1] * x[1] + b[4 * r + 2] * x[2] + b[4 * r + 3]);
      m[r] += w * (b[4 * r] * n[0] + b[4 * r + 1] * n[1] + b[4 * r + 2] * n[2]);
    }
  }
  const float *q = s.camera + f * 10; /* scale, distance, x0, yc, y0, window's x0 y0 dx dy */
  float far = q[1] - y[2];
  const float g = q[0] * q[1] / (far < 0.5f ? 0.5f : far);
  float *o = s.posed + (f * s.most + v) * 6;
  o[0] = (q[2] + g * y[0] - q[5]) / q[7] * s.ss;
  o[1] = (q[4] - g * (y[1] - q[3]) - q[6]) / q[8] * s.ss;
  o[2] = -y[2];
  o[3] = m[0]; o[4] = -m[1]; o[5] = -m[2]; /* right, down, away */
}

FN void raster_one(const People p, const Scene s, long f, int t) {
  const int c = s.who[f], W = s.width * s.ss, H = s.height * s.ss;
  if (t >= p.tri_count[c]) return;
  const u16 *i = p.tri + 3L * (p.tri_start[c] + t);
  const float *a = s.posed + (f * s.most + i[0]) * 6, *b = s.posed + (f * s.most + i[1]) * 6, *d = s.posed + (f * s.most + i[2]) * 6;
  const float lox = fminf(a[0], fminf(b[0], d[0])), hix = fmaxf(a[0], fmaxf(b[0], d[0]));
  const float loy = fminf(a[1], fminf(b[1], d[1])), hiy = fmaxf(a[1], fmaxf(b[1], d[1]));
  if (!(hix > 0 && hiy > 0 && lox < W && loy < H)) return;
  const int x0 = lox < 0 ? 0 : (int)ceilf(lox - 0.5f), y0 = loy < 0 ? 0 : (int)ceilf(loy - 0.5f);
  const int x1 = hix > W ? W - 1 : (int)floorf(hix - 0.5f), y1 = hiy > H ? H - 1 : (int)floorf(hiy - 0.5f);
  const float area = (b[0] - a[0]) * (d[1] - a[1]) - (d[0] - a[0]) * (b[1] - a[1]);
  if (x1 < x0 || y1 < y0 || fabsf(area) < 1e-9f) return;
  for (int y = y0; y <= y1; y++)
    for (int x = x0; x <= x1; x++) {
      const float px = x + 0.5f, py = y + 0.5f;
      const float u = ((px - a[0]) * (d[1] - a[1]) - (d[0] - a[0]) * (py - a[1])) / area;
      const float v = ((b[0] - a[0]) * (py - a[1]) - (px - a[0]) * (b[1] - a[1])) / area;
      if (u < 0 || v < 0 || u + v > 1) continue;
      const float z = a[2] + u * (b[2] - a[2]) + v * (d[2] - a[2]);
      const u64 key = ((u64)(u32)((fminf(fmaxf(z, -3.9f), 3.9f) + 4.0f) * 536870912.0f) << 32) | (u32)t;
      u64 *n = s.nearest + (f * H + y) * W + x;
#ifdef GPU
      if (key < *n) atomicMin(n, key);
#else
      if (key < *n) *n = key;
#endif
    }
}

FN void shade_one(const People p, const Scene s, long f, int pixel) {
  const int c = s.who[f], W = s.width * s.ss, H = s.height * s.ss, px = pixel % s.width, py = pixel / s.width;
  const float *light = s.light + f * 8, *look = s.look + f * (PARTS * 7 + 11);
  float sum[4] = {0, 0, 0, 0};
  for (int k = 0; k < s.ss * s.ss; k++) {
    const int x = px * s.ss + k % s.ss, y = py * s.ss + k / s.ss;
    const u64 key = s.nearest[(f * H + y) * W + x];
    if (key == EMPTY) continue;
    const u16 *i = p.tri + 3L * (p.tri_start[c] + (u32)key);
    const float *a = s.posed + (f * s.most + i[0]) * 6, *b = s.posed + (f * s.most + i[1]) * 6, *d = s.posed + (f * s.most + i[2]) * 6;
    const float area = (b[0] - a[0]) * (d[1] - a[1]) - (d[0] - a[0]) * (b[1] - a[1]);
    float w[3];
    w[1] = ((x + 0.5f - a[0]) * (d[1] - a[1]) - (d[0] - a[0]) * (y + 0.5f - a[1])) / area;
    w[2] = ((b[0] - a[0]) * (y + 0.5f - a[1]) - (x + 0.5f - a[0]) * (b[1] - a[1])) / area;
    w[0] = 1 - w[1] - w[2];
    float n[3] = {0, 0, 0}, col[3] = {0, 0, 0}, r[3] = {0, 0, 0};
    const float *corner[3] = {a, b, d};
    for (int q = 0; q < 3; q++) {
      const long at = p.rest_start[c] + i[q];
      for (int j = 0; j < 3; j++) {
        n[j] += w[q] * corner[q][3 + j];
        col[j] += w[q] * p.colour[3 * at + j] / 255.0f;
        r[j] += w[q] * p.rest[3 * at + j] / 16384.0f;
      }
    }
    const int part = p.part[p.rest_start[c] + i[0]];
    const float *l = look + part * 7; /* factor of the texture (3), dye (3), 1 / mean grey */
    const float shade = powf(fminf((col[0] + col[1] + col[2]) / 3 * l[6], 2.5f) + 1e-4f, 0.8f);
    for (int j = 0; j < 3; j++) col[j] = col[j] * l[j] + shade * l[3 + j];
    const float *e = look + PARTS * 7; /* pattern: kind, frequency, colour (3); iris colour (3), its radius, the pupil's; mouth's darkness */
    if (part == 1 && e[0] > 0) {
      const float u = r[0] * e[1], v = r[1] * e[1];
      const int i0 = u - floorf(u) < 0.5f, i1 = v - floorf(v) < 0.5f;
      const int on = e[0] == 1 ? i1 : e[0] == 2 ? i0 : e[0] == 3 ? i0 != i1 : (u * u * 0.004f + (v - 0.75f * e[1]) * (v - 0.75f * e[1]) * 0.006f < 0.012f && r[2] > 0);
      if (on) for (int j = 0; j < 3; j++) col[j] = e[2 + j] * fminf(shade, 1.3f);
    }
    if (part == EYE) {
      const float *o = p.eyes + (c * 2 + (r[0] > 0)) * 4;
      const float u = (r[0] - o[0]) / o[3], v = (r[1] - o[1]) / o[3], rho = sqrtf(u * u + v * v);
      for (int j = 0; j < 3; j++) col[j] = r[2] < o[2] || rho > e[8] ? 0.93f : rho > e[9] ? e[5 + j] : 0.03f;
    }
    if (part == 6) for (int j = 0; j < 3; j++) col[j] = 0.9f;
    float size = rsqrtf(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + 1e-12f);
    if (n[2] > 0) size = -size;
    float dif = (n[0] * light[0] + n[1] * light[1] + n[2] * light[2]) * size;
    const float rim = fminf(fmaxf(1 + n[2] * size, 0.0f), 1.0f);
    const float bright = light[3] + light[4] * fmaxf(dif, 0.0f) - 0.15f * rim * rim;
    for (int j = 0; j < 3; j++) sum[j] += fminf(fmaxf(col[j] * bright * light[5 + j], 0.0f), 1.0f);
    sum[3] += 1;
  }
  for (int j = 0; j < 4; j++) s.out[((f * 4 + j) * s.height + py) * s.width + px] = sum[j] / (s.ss * s.ss);
}

#ifdef GPU
#define KERNEL(name) \
  __global__ void name##_all(const People p, const Scene s, int most) { \
    const int k = blockIdx.x * blockDim.x + threadIdx.x; \
    if (k < most) name##_one(p, s, blockIdx.y, k); \
  } \
  extern "C" int name(People p, Scene s, int most, int frames, int device, void *stream) { \
    cudaSetDevice(device); \
    name##_all<<<dim3((most + 127) / 128, frames), 128, 0, (cudaStream_t)stream>>>(p, s, most); \
    return (int)cudaGetLastError(); \
  }
#else
#define KERNEL(name) \
  extern "C" int name(People p, Scene s, int most, int frames, int device, void *stream) { \
    _Pragma("omp parallel for schedule(dynamic)") for (long f = 0; f < frames; f++) \
      for (int k = 0; k < most; k++) name##_one(p, s, f, k); \
    return 0; \
  }
#endif
KERNEL(pose)
KERNEL(raster)
KERNEL(shade)
