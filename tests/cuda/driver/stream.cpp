// Streams, which do their work in order when somebody waits for them, and events, which keep the time at which that came by.
#include "state.hpp"

#include <cstdlib>

Stream *stream_of(Device *device, CUstream handle) {
    if (auto *found = known(state().streams, handle)) return found->device == device ? found : nullptr;
    if (handle && handle != CU_STREAM_LEGACY && handle != CU_STREAM_PER_THREAD) return nullptr;
    auto &stream = state().defaults[device];
    if (!stream) stream.reset(new Stream{device, 0});
    return stream.get();
}

Stream *pending(Device *device) {
    if (device->lost) return nullptr;
    for (auto *stream : state().streams)
        if (stream->device == device && !stream->queue.empty()) return stream;
    Stream *stream = stream_of(device, nullptr);
    return stream->queue.empty() ? nullptr : stream;
}

CUresult enqueue(Call &call, Stream *stream, CUgraphNodeType kind, Work work) {
    if (stream->capture) {
        if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        stream->capture->graph->nodes.push_back({kind, work});
        return CUDA_SUCCESS;
    }
    bool first = !(stream->flags & CU_STREAM_NON_BLOCKING);
    if (first && stream == stream_of(stream->device, nullptr)) {
        drain(call, stream->device, false);  // stream 0 comes after all blocking streams …
    } else if (first) {
        drain(call, stream_of(stream->device, nullptr));  // … and they come after it
    }
    stream->queue.push_back(work);
    return CUDA_SUCCESS;
}

bool step(Call &call, Stream *stream) {
    if (stream->queue.empty()) return false;
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    Device *device = stream->device;
    if (device->lost) return true;
    CUresult code = fault("work");
    call.lock.unlock();  // it may call into Python, and so wait for a thread that waits for this lock
    if (!code) code = work();
    call.lock.lock();
    if (code) device->lost = code;
    return true;
}

void drain(Call &call, Stream *stream) {
    while (step(call, stream)) continue;
}

void drain(Call &call, Device *device, bool all) {
    auto streams = state().streams;
    for (auto *stream : streams)
        if (stream->device == device && (all || !(stream->flags & CU_STREAM_NON_BLOCKING))) drain(call, stream);
    drain(call, stream_of(device, nullptr));
}

// A query or a wait on a stream that is captured ends the capture.
static bool captured(Stream *stream) {
    if (stream->capture) stream->capture->invalid = true;
    return bool(stream->capture);
}

API cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority) {
    CALL("cuStreamCreate", DEVICE);
    call.note(flags);
    if (flags & ~unsigned(CU_STREAM_NON_BLOCKING)) return CUDA_ERROR_INVALID_VALUE;
    auto *stream = new Stream{call.device(), flags, priority};
    state().streams.insert(stream);
    *handle = reinterpret_cast<CUstream>(stream);
    return CUDA_SUCCESS;
}

API cuStreamCreate(CUstream *handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }

API cuStreamDestroy(CUstream handle) {
    Call call("cuStreamDestroy", DEVICE);
    auto *stream = known(state().streams, handle);
    if (call.misuse) return call.code;
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!stream->queue.empty() && !stream->device->lost) state().busy++;
    drain(call, stream);
    state().streams.erase(stream);
    delete stream;
    return call.code;
}

API cuStreamGetFlags(CUstream handle, unsigned *flags) {
    CALL("cuStreamGetFlags", DEVICE);
    Stream *stream = stream_of(call.device(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    *flags = stream->flags;
    return CUDA_SUCCESS;
}

// The host notices that the GPU is done TRTZOO_EMULATED_WAKE milliseconds later.
static void wake() {
    if (const char *late = getenv("TRTZOO_EMULATED_WAKE")) std::this_thread::sleep_for(std::chrono::milliseconds(atoi(late)));
}

API cuStreamSynchronize(CUstream handle) {
    Call call("cuStreamSynchronize", DEVICE);
    if (call.misuse) return call.code;
    Stream *stream = stream_of(call.device(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (captured(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    drain(call, stream);
    wake();
    return call.code ? call.code : call.device()->lost;
}

API cuStreamQuery(CUstream handle) {
    CALL("cuStreamQuery", DEVICE);
    Stream *stream = stream_of(call.device(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (captured(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (step(call, stream)) return call.device()->lost ? call.device()->lost : CUDA_ERROR_NOT_READY;  // each look, one step
    return call.device()->lost;
}

API cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data) {
    CALL("cuLaunchHostFunc", DEVICE);
    Stream *stream = stream_of(call.device(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    return enqueue(call, stream, CU_GRAPH_NODE_TYPE_HOST, [=] {
        function(data);
        return CUDA_SUCCESS;
    });
}

// --- events ---

API cuEventCreate(CUevent *handle, unsigned flags) {
    CALL("cuEventCreate", DEVICE);
    call.note(flags);
    auto *event = new Event{flags, nullptr};
    state().events.insert(event);
    *handle = reinterpret_cast<CUevent>(event);
    return CUDA_SUCCESS;
}

API cuEventDestroy(CUevent handle) {
    Call call("cuEventDestroy", DEVICE);
    auto *event = known(state().events, handle);
    if (call.misuse) return call.code;
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    if (event->mark && !event->mark->reached && !call.device()->lost) state().busy++;
    state().events.erase(event);
    delete event;
    return call.code;
}

API cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned) {
    CALL("cuEventRecord", DEVICE);
    auto *event = known(state().events, handle);
    Stream *stream = stream_of(call.device(), stream_handle);
    if (!event || !stream) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) return enqueue(call, stream, CU_GRAPH_NODE_TYPE_EMPTY, [] { return CUDA_SUCCESS; });
    auto mark = event->mark = std::make_shared<Mark>();
    mark->stream = stream;
    return enqueue(call, stream, CU_GRAPH_NODE_TYPE_EVENT_RECORD, [mark] {
        mark->when = Clock::now();
        mark->reached = true;
        return CUDA_SUCCESS;
    });
}

API cuEventRecord(CUevent event, CUstream stream) { return cuEventRecordWithFlags(event, stream, 0); }

static CUresult reach(Call &call, const std::shared_ptr<Mark> &mark) {
    Stream *stream = mark->stream;
    while (!mark->reached && !call.device()->lost && step(call, stream)) continue;
    return call.device()->lost;
}

API cuEventSynchronize(CUevent handle) {
    CALL("cuEventSynchronize", UNCAPTURED);
    auto *event = known(state().events, handle);
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    auto mark = event->mark;
    CUresult code = mark && !mark->reached ? reach(call, mark) : CUDA_SUCCESS;
    wake();
    return code;
}

API cuEventQuery(CUevent handle) {
    CALL("cuEventQuery", UNCAPTURED);
    auto *event = known(state().events, handle);
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    auto mark = event->mark;
    if (!mark || mark->reached) return CUDA_SUCCESS;
    step(call, mark->stream);
    return call.device()->lost ? call.device()->lost : CUDA_ERROR_NOT_READY;
}

API cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
    CALL("cuStreamWaitEvent", DEVICE);
    auto *event = known(state().events, event_handle);
    Stream *stream = stream_of(call.device(), handle);
    if (!event || !stream) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;  // one stream a capture is all we emulate
    auto mark = event->mark;
    if (!mark || mark->reached || mark->stream == stream) return CUDA_SUCCESS;
    return enqueue(call, stream, CU_GRAPH_NODE_TYPE_WAIT_EVENT, [mark] {
        while (!mark->reached) {
            Call inner("wait", NOTHING);
            if (!step(inner, mark->stream)) break;
        }
        return CUDA_SUCCESS;
    });
}

#undef cuEventElapsedTime
static CUresult elapsed(float *milliseconds, CUevent from, CUevent to) {
    CALL("cuEventElapsedTime", DEVICE);
    auto *start = known(state().events, from), *end = known(state().events, to);
    if (!start || !end || !start->mark || !end->mark) return CUDA_ERROR_INVALID_HANDLE;
    if ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
    if (!start->mark->reached || !end->mark->reached) return CUDA_ERROR_NOT_READY;
    *milliseconds = std::chrono::duration<float, std::milli>(end->mark->when - start->mark->when).count();
    return CUDA_SUCCESS;
}

API cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) { return elapsed(milliseconds, from, to); }
API cuEventElapsedTime_v2(float *milliseconds, CUevent from, CUevent to) { return elapsed(milliseconds, from, to); }
