/* A stand-in for libnvidia-ml.so.1, so that the way to a real driver is gone on machines without one: two GPUs, of
 * which the second says less. Only what gpu-bridge-host asks for. Layouts and codes are those of nvml.h. */
#include <string.h>

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilization;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3 };

static int device(void *handle) { return (int)(long)handle - 1; }

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *out, unsigned length) { strncpy(out, "560.35.03", length); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = 12060; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion(int *out) { *out = 12060; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *out) { *out = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
  if (index > 1) return INVALID_ARGUMENT;
  *out = (void *)(long)(index + 1);
  return SUCCESS;
}
int nvmlDeviceGetName(void *handle, char *out, unsigned length) {
  strncpy(out, device(handle) ? "Tesla \"K\"" : "NVIDIA GeForce RTX 4090", length);
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2 *out) {
  if (out->version != (sizeof *out | 2 << 24)) return INVALID_ARGUMENT;
  out->total = (device(handle) ? 11441ull : 24564ull) << 20;
  out->used = 1024ull << 20;
  return SUCCESS;
}
int nvmlDeviceGetNumGpuCores(void *handle, unsigned *out) {
  if (device(handle)) return NOT_SUPPORTED;
  *out = 16384;
  return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
  *major = device(handle) ? 3 : 8;
  *minor = device(handle) ? 7 : 9;
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization *out) {
  out->gpu = device(handle) ? 0 : 97;
  out->memory = 40;
  return SUCCESS;
}
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *out) {
  if (sensor != 0) return INVALID_ARGUMENT;
  *out = device(handle) ? 30 : 71;
  return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *out) {
  if (device(handle)) return NOT_SUPPORTED;
  *out = 421337;
  return SUCCESS;
}
