// Memory of devices and pinned memory, both malloc; copies are checked against what is allocated and done in stream order.
// Fresh memory is full of 0xFF: a float that nobody wrote is NaN.
#include "state.hpp"

#include <cstdlib>
#include <cstring>

using Blocks = std::map<uintptr_t, Block>;

static bool inside(const Blocks &blocks, uintptr_t start, size_t size) {
    auto next = blocks.upper_bound(start);
    if (next == blocks.begin()) return false;
    auto &[at, block] = *--next;
    return start + size <= at + block.size;
}

static CUresult allocate(Blocks &blocks, Device *device, size_t size, unsigned flags, uintptr_t *address) {
    if (!size) return CUDA_ERROR_INVALID_VALUE;
    void *memory = aligned_alloc(256, (size + 255) / 256 * 256);
    if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(memory, 0xFF, size);
    *address = reinterpret_cast<uintptr_t>(memory);
    blocks[*address] = {size, device, flags};
    return CUDA_SUCCESS;
}

static CUresult release(Call &call, Blocks &blocks, uintptr_t address) {
    if (call.misuse) return call.code;
    auto found = blocks.find(address);
    if (found == blocks.end()) return CUDA_ERROR_INVALID_VALUE;
    if (pending(found->second.device)) {
        state().busy++;
        drain(call, found->second.device, true);
    }
    free(reinterpret_cast<void *>(address));
    blocks.erase(address);
    return call.code;
}

API cuMemAlloc(CUdeviceptr *address, size_t size) {
    CALL("cuMemAlloc", UNCAPTURED);
    call.note(size);
    if (size > call.device()->memory - state().used(call.device())) return CUDA_ERROR_OUT_OF_MEMORY;
    uintptr_t made = 0;
    CUresult code = allocate(state().memory, call.device(), size, 0, &made);
    *address = made;
    return code;
}

API cuMemFree(CUdeviceptr address) {
    Call call("cuMemFree", UNCAPTURED);
    return release(call, state().memory, address);
}

API cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    CALL("cuMemHostAlloc", UNCAPTURED);
    call.note(size);
    uintptr_t made = 0;
    CUresult code = allocate(state().pinned, call.device(), size, flags, &made);
    *address = reinterpret_cast<void *>(made);
    return code;
}

API cuMemFreeHost(void *address) {
    Call call("cuMemFreeHost", UNCAPTURED);
    return release(call, state().pinned, reinterpret_cast<uintptr_t>(address));
}

API cuMemHostGetFlags(unsigned *flags, void *address) {
    CALL("cuMemHostGetFlags", DEVICE);
    auto found = state().pinned.find(reinterpret_cast<uintptr_t>(address));
    if (found == state().pinned.end()) return CUDA_ERROR_INVALID_VALUE;
    *flags = found->second.flags;
    return CUDA_SUCCESS;
}

API cuMemGetInfo(size_t *free, size_t *total) {
    CALL("cuMemGetInfo", DEVICE);
    *total = call.device()->memory;
    *free = *total - state().used(call.device());
    return CUDA_SUCCESS;
}

// --- copies ---

enum Side { ON_DEVICE, ON_HOST };

static bool valid(Side side, uintptr_t address, size_t size) {
    return side == ON_HOST ? address != 0 : inside(state().memory, address, size);
}

static CUresult copy(Call &call, Side to, uintptr_t target, Side from, uintptr_t source, size_t size) {
    if (!valid(to, target, size) || !valid(from, source, size)) return CUDA_ERROR_INVALID_VALUE;
    drain(call, call.device(), false);
    memcpy(reinterpret_cast<void *>(target), reinterpret_cast<void *>(source), size);
    return call.device()->lost;
}

static CUresult copy_later(Call &call, Side to, uintptr_t target, Side from, uintptr_t source, size_t size, CUstream handle) {
    Stream *stream = stream_of(call.device(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!valid(to, target, size) || !valid(from, source, size)) return CUDA_ERROR_INVALID_VALUE;
    bool staged = from == ON_HOST && !inside(state().pinned, source, size);
    bool waits = to == ON_HOST && !inside(state().pinned, target, size);
    if ((staged || waits) && stream->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    auto stage = std::make_shared<std::vector<char>>();  // pageable memory is read now, by way of the driver's own buffer
    if (staged) stage->assign(reinterpret_cast<char *>(source), reinterpret_cast<char *>(source) + size);
    CUresult code = enqueue(call, stream, CU_GRAPH_NODE_TYPE_MEMCPY, [=] {
        memcpy(reinterpret_cast<void *>(target), staged ? stage->data() : reinterpret_cast<void *>(source), size);
        return CUDA_SUCCESS;
    });
    if (!code && waits) drain(call, stream);  // pageable memory is written before the call returns
    return code;
}

API cuMemcpyHtoD(CUdeviceptr target, const void *source, size_t size) {
    CALL("cuMemcpyHtoD", UNCAPTURED);
    return copy(call, ON_DEVICE, target, ON_HOST, reinterpret_cast<uintptr_t>(source), size);
}

API cuMemcpyDtoH(void *target, CUdeviceptr source, size_t size) {
    CALL("cuMemcpyDtoH", UNCAPTURED);
    return copy(call, ON_HOST, reinterpret_cast<uintptr_t>(target), ON_DEVICE, source, size);
}

API cuMemcpyDtoD(CUdeviceptr target, CUdeviceptr source, size_t size) {
    CALL("cuMemcpyDtoD", UNCAPTURED);
    return copy(call, ON_DEVICE, target, ON_DEVICE, source, size);
}

API cuMemcpyHtoDAsync(CUdeviceptr target, const void *source, size_t size, CUstream stream) {
    CALL("cuMemcpyHtoDAsync", DEVICE);
    call.note(size);
    return copy_later(call, ON_DEVICE, target, ON_HOST, reinterpret_cast<uintptr_t>(source), size, stream);
}

API cuMemcpyDtoHAsync(void *target, CUdeviceptr source, size_t size, CUstream stream) {
    CALL("cuMemcpyDtoHAsync", DEVICE);
    call.note(size);
    return copy_later(call, ON_HOST, reinterpret_cast<uintptr_t>(target), ON_DEVICE, source, size, stream);
}

API cuMemcpyDtoDAsync(CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream) {
    CALL("cuMemcpyDtoDAsync", DEVICE);
    call.note(size);
    return copy_later(call, ON_DEVICE, target, ON_DEVICE, source, size, stream);
}

API cuMemsetD8(CUdeviceptr target, unsigned char value, size_t size) {
    CALL("cuMemsetD8", UNCAPTURED);
    if (!inside(state().memory, target, size)) return CUDA_ERROR_INVALID_VALUE;
    drain(call, call.device(), false);
    memset(reinterpret_cast<void *>(target), value, size);
    return call.device()->lost;
}

API cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t size, CUstream handle) {
    CALL("cuMemsetD8Async", DEVICE);
    call.note(size);
    Stream *stream = stream_of(call.device(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!inside(state().memory, target, size)) return CUDA_ERROR_INVALID_VALUE;
    return enqueue(call, stream, CU_GRAPH_NODE_TYPE_MEMSET, [=] {
        memset(reinterpret_cast<void *>(target), value, size);
        return CUDA_SUCCESS;
    });
}
