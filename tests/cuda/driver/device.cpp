// Devices as they present themselves, by TRTZOO_EMULATED_GPUS, the driver's CUDA version, and the texts of errors.
#include "state.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

static Device *at(CUdevice ordinal) {
    return ordinal >= 0 && ordinal < int(state().devices.size()) ? &state().devices[ordinal] : nullptr;
}

API cuInit(unsigned flags) {
    CALL("cuInit", NOTHING);
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    if (state().devices.empty()) return CUDA_ERROR_NO_DEVICE;
    state().initialised = true;
    return CUDA_SUCCESS;
}

API cuDriverGetVersion(int *version) {
    CALL("cuDriverGetVersion", NOTHING);
    const char *emulated = getenv("TRTZOO_EMULATED_CUDA");  // 11040 for CUDA 11.4
    *version = emulated ? atoi(emulated) : CUDA_VERSION;
    return CUDA_SUCCESS;
}

API cuDeviceGetCount(int *count) {
    CALL("cuDeviceGetCount", DRIVER);
    *count = int(state().devices.size());
    return CUDA_SUCCESS;
}

API cuDeviceGet(CUdevice *device, int ordinal) {
    CALL("cuDeviceGet", DRIVER);
    if (!at(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

API cuDeviceGetName(char *name, int size, CUdevice device) {
    CALL("cuDeviceGetName", DRIVER);
    if (!at(device)) return CUDA_ERROR_INVALID_DEVICE;
    snprintf(name, size_t(size), "%s", at(device)->name.c_str());
    return CUDA_SUCCESS;
}

API cuDeviceGetPCIBusId(char *id, int size, CUdevice device) {
    CALL("cuDeviceGetPCIBusId", DRIVER);
    if (!at(device)) return CUDA_ERROR_INVALID_DEVICE;
    snprintf(id, size_t(size), "0000:%02X:00.0", at(device)->number);
    return CUDA_SUCCESS;
}

API cuDeviceGetByPCIBusId(CUdevice *device, const char *id) {
    CALL("cuDeviceGetByPCIBusId", DRIVER);
    unsigned bus = 0;
    if (sscanf(id, "%*x:%x:", &bus) != 1) return CUDA_ERROR_INVALID_DEVICE;
    for (*device = 0; at(*device); ++*device)
        if (at(*device)->number == int(bus)) return CUDA_SUCCESS;
    return CUDA_ERROR_INVALID_DEVICE;
}

API cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    CALL("cuDeviceGetUuid", DRIVER);
    if (!at(device)) return CUDA_ERROR_INVALID_DEVICE;
    memset(uuid, at(device)->number, sizeof *uuid);
    return CUDA_SUCCESS;
}

API cuDeviceTotalMem(size_t *bytes, CUdevice device) {
    CALL("cuDeviceTotalMem", DRIVER);
    if (!at(device)) return CUDA_ERROR_INVALID_DEVICE;
    *bytes = at(device)->memory;
    return CUDA_SUCCESS;
}

API cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    CALL("cuDeviceComputeCapability", DRIVER);
    if (!at(device)) return CUDA_ERROR_INVALID_DEVICE;
    *major = at(device)->major;
    *minor = at(device)->minor;
    return CUDA_SUCCESS;
}

API cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    CALL("cuDeviceGetAttribute", DRIVER);
    if (!at(device)) return CUDA_ERROR_INVALID_DEVICE;
    const std::map<int, int> known = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, at(device)->major},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, at(device)->minor},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, at(device)->processors},
        {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, at(device)->l2},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
        {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
        {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3},
        {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
        {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
        {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
        {CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, at(device)->number},
    };
    auto found = known.find(attribute);
    *value = found == known.end() ? 0 : found->second;
    return CUDA_SUCCESS;
}

static const struct {
    CUresult code;
    const char *name, *text;
} ERRORS[] = {
#define ERROR(code, text) {code, #code, text}
    ERROR(CUDA_SUCCESS, "no error"),
    ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
    ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    ERROR(CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
    ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "attempt to terminate a thread-local capture sequence from another thread"),
    ERROR(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
    ERROR(CUDA_ERROR_UNKNOWN, "unknown error"),
};

API cuGetErrorString(CUresult error, const char **text) {
    for (auto &each : ERRORS)
        if (each.code == error) return *text = each.text, CUDA_SUCCESS;
    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

API cuGetErrorName(CUresult error, const char **name) {
    for (auto &each : ERRORS)
        if (each.code == error) return *name = each.name, CUDA_SUCCESS;
    *name = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

// --- the table of entry points, made from cudaTypedefs.h (install.py) ---

struct Entry {
    const char *name;
    int version;
    void *function;
};
extern "C" const Entry ENTRIES[];

API cuGetProcAddress_v2(const char *name, void **function, int version, cuuint64_t, CUdriverProcAddressQueryResult *status) {
    const Entry *found = nullptr;
    bool exists = false;
    for (const Entry *each = ENTRIES; each->name; each++) {
        if (strcmp(each->name, name)) continue;
        exists = true;
        if (each->version <= version && (!found || each->version > found->version)) found = each;
    }
    *function = found ? found->function : nullptr;
    if (status)
        *status = found    ? CU_GET_PROC_ADDRESS_SUCCESS
                  : exists ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                           : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return CUDA_SUCCESS;
}

#undef cuGetProcAddress
API cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
