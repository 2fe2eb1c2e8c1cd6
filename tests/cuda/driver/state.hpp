// What the emulated driver knows: devices, streams, events, graphs, and what is still alive of each. Device memory is host memory.
//
// Nothing runs when it is enqueued. A stream is a queue, and work is done in order by whoever waits for it: so a result that is
// read without waiting is always the old one, and every run of a test goes the same way. One lock guards all; work runs outside it.
#pragma once

#include <cuda.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI

using Clock = std::chrono::steady_clock;
using Work = std::function<CUresult()>;

struct Device {
    std::string name;
    int major, minor, processors, l2;
    size_t memory;
    int number = 0;              // from 1 on, also of those that CUDA_VISIBLE_DEVICES hides; its PCI bus and each byte of its UUID
    unsigned flags = 0;
    int retained = 0;            // the primary context's count
    CUresult lost = CUDA_SUCCESS;  // a sticky error: all work fails from then on
};

struct Graph {
    std::vector<std::pair<CUgraphNodeType, Work>> nodes;
};

struct Capture {
    Graph *graph;
    CUstreamCaptureMode mode;
    std::thread::id thread;
    bool invalid = false;
};

struct Mark {  // one recording of an event
    bool reached = false;
    Clock::time_point when;
    struct Stream *stream;
};

struct Stream {
    Device *device;
    unsigned flags;
    int priority = 0;
    std::deque<Work> queue;
    std::unique_ptr<Capture> capture;
};

struct Event {
    unsigned flags;
    std::shared_ptr<Mark> mark;
};

struct Block {  // memory, of a device or pinned
    size_t size;
    Device *device;
    unsigned flags;
};

struct Fault {  // the `at`-th call of `name` from now fails with `code`; the later ones too when it lasts
    std::string name;
    int at;
    CUresult code;
    bool lasting;
};

struct State {
    std::mutex lock;
    bool initialised = false;
    std::vector<Device> devices;
    std::map<Device *, std::unique_ptr<Stream>> defaults;  // stream 0
    std::set<Stream *> streams;
    std::set<Event *> events;
    std::set<Graph *> graphs, executables;
    std::map<uintptr_t, Block> memory, pinned;
    std::vector<std::string> log;
    std::vector<Fault> faults;
    int busy = 0;  // things freed or destroyed while work that may use them was waiting
    size_t used(const Device *device) const;
};

State &state();
std::vector<Device *> &contexts();  // this thread's stack; a device is its primary context

// One call of the interface: it holds the lock, is logged, and knows why it may not go on.
enum Need {
    NOTHING,      // works before cuInit
    DRIVER,       // after cuInit
    CONTEXT,      // with a current context, lost or not
    DEVICE,       // with a current context that is not lost
    UNCAPTURED,   // the same, and while this thread captures no stream
};

struct Call {
    std::unique_lock<std::mutex> lock;
    CUresult code = CUDA_SUCCESS;
    bool misuse = false;  // the caller's fault: nothing is done, where a destroyer otherwise acts even if told to fail
    Call(const char *name, Need need);
    Device *device() const { return contexts().back(); }
    void note(size_t what) { state().log.back() += " " + std::to_string(what); }
};

#define CALL(name, need)   \
    Call call(name, need); \
    if (call.code) return call.code

CUresult fault(const char *name);
template <class T, class Handle> T *known(const std::set<T *> &all, Handle handle) {
    auto *found = reinterpret_cast<T *>(handle);
    return all.count(found) ? found : nullptr;
}

Stream *stream_of(Device *device, CUstream handle);  // nullptr for a handle that is none
CUresult enqueue(Call &call, Stream *stream, CUgraphNodeType kind, Work work);
bool step(Call &call, Stream *stream);        // do the next piece of work; false when there is none
void drain(Call &call, Stream *stream);
void drain(Call &call, Device *device, bool all);  // every stream, or those that wait for stream 0
Stream *pending(Device *device);
CUresult run(const Graph &graph);
