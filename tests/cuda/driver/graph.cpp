// Capture: work that a stream is given becomes a graph's nodes; a launch does them in order as one piece of work.
#include "state.hpp"

#include <algorithm>

CUresult run(const Graph &graph) {
    for (auto &[kind, work] : graph.nodes)
        if (CUresult code = work()) return code;
    return CUDA_SUCCESS;
}

API cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
    CALL("cuStreamBeginCapture", DEVICE);
    call.note(mode);
    auto *stream = known(state().streams, handle);  // never stream 0
    if (!stream) return handle ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    auto *graph = new Graph;
    state().graphs.insert(graph);
    stream->capture.reset(new Capture{graph, mode, std::this_thread::get_id()});
    return CUDA_SUCCESS;
}

API cuStreamEndCapture(CUstream handle, CUgraph *graph) {
    Call call("cuStreamEndCapture", DEVICE);
    auto *stream = known(state().streams, handle);
    *graph = nullptr;
    if (call.misuse) return call.code;
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    if (stream->capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && stream->capture->thread != std::this_thread::get_id())
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    auto capture = std::move(stream->capture);
    if (!call.code && !capture->invalid) return *graph = reinterpret_cast<CUgraph>(capture->graph), CUDA_SUCCESS;
    state().graphs.erase(capture->graph);
    delete capture->graph;
    return call.code ? call.code : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
    CALL("cuStreamIsCapturing", DEVICE);
    Stream *stream = stream_of(call.device(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    *status = !stream->capture          ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                         : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    CALL("cuThreadExchangeStreamCaptureMode", DEVICE);
    static thread_local CUstreamCaptureMode own = CU_STREAM_CAPTURE_MODE_GLOBAL;
    std::swap(*mode, own);
    return CUDA_SUCCESS;
}

API cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
    CALL("cuGraphGetNodes", DEVICE);
    auto *graph = known(state().graphs, handle);
    if (!graph) return CUDA_ERROR_INVALID_VALUE;
    if (nodes) *count = std::min(*count, graph->nodes.size());
    if (!nodes) *count = graph->nodes.size();
    for (size_t index = 0; nodes && index < *count; index++) nodes[index] = reinterpret_cast<CUgraphNode>(&graph->nodes[index]);
    return CUDA_SUCCESS;
}

API cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type) {
    CALL("cuGraphNodeGetType", DEVICE);
    for (auto *graph : state().graphs)
        for (auto &each : graph->nodes)
            if (reinterpret_cast<CUgraphNode>(&each) == node) return *type = each.first, CUDA_SUCCESS;
    return CUDA_ERROR_INVALID_VALUE;
}

API cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph handle, unsigned long long) {
    CALL("cuGraphInstantiate", DEVICE);
    auto *graph = known(state().graphs, handle);
    if (!graph) return CUDA_ERROR_INVALID_VALUE;
    auto *made = new Graph(*graph);
    state().executables.insert(made);
    *executable = reinterpret_cast<CUgraphExec>(made);
    return CUDA_SUCCESS;
}

API cuGraphLaunch(CUgraphExec executable, CUstream handle) {
    CALL("cuGraphLaunch", DEVICE);
    auto *graph = known(state().executables, executable);
    Stream *stream = stream_of(call.device(), handle);
    if (!graph || !stream) return CUDA_ERROR_INVALID_VALUE;
    return enqueue(call, stream, CU_GRAPH_NODE_TYPE_GRAPH, [nodes = *graph] { return run(nodes); });
}

static CUresult destroy(const char *name, std::set<Graph *> &all, void *handle) {
    Call call(name, DEVICE);
    auto *graph = known(all, handle);
    if (call.misuse) return call.code;
    if (!graph) return CUDA_ERROR_INVALID_VALUE;
    all.erase(graph);
    delete graph;
    return call.code;
}

API cuGraphDestroy(CUgraph graph) { return destroy("cuGraphDestroy", state().graphs, graph); }
API cuGraphExecDestroy(CUgraphExec graph) { return destroy("cuGraphExecDestroy", state().executables, graph); }
