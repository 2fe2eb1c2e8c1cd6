// The rules every call obeys, the stack of contexts, and the control that tests have: faults, the log and the counts.
#include "state.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

State &state() {
    static State *one = new State;  // never destroyed: libraries free things after our tear-down
    return *one;
}

std::vector<Device *> &contexts() {
    static thread_local std::vector<Device *> stack;
    return stack;
}

size_t State::used(const Device *device) const {
    size_t total = 0;
    for (auto &[at, block] : memory) total += block.device == device ? block.size : 0;
    return total;
}

CUresult fault(const char *name) {
    CUresult code = CUDA_SUCCESS;
    for (auto &each : state().faults) {
        bool memory = each.name == "allocation" && (!strcmp(name, "cuMemAlloc") || !strcmp(name, "cuMemHostAlloc"));
        if (each.name != name && !memory && !(each.name == "call" && strcmp(name, "work"))) continue;
        each.at--;
        if (!each.at || (each.at < 0 && each.lasting)) code = each.code;
    }
    return code;
}

Call::Call(const char *name, Need need) : lock(state().lock) {
    state().log.push_back(name);
    bool current = !contexts().empty() && contexts().back();
    if (need >= DRIVER && !state().initialised) {
        code = CUDA_ERROR_NOT_INITIALIZED;
    } else if (need >= CONTEXT && !current) {
        code = CUDA_ERROR_INVALID_CONTEXT;
    } else if (need >= CONTEXT && !device()->retained) {
        code = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    misuse = code;
    if (!code) code = fault(name);
    if (!code && need >= DEVICE) code = device()->lost;
    if (!code && need == UNCAPTURED)
        for (auto *stream : state().streams)
            if (stream->capture && stream->capture->thread == std::this_thread::get_id() &&
                stream->capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
                stream->capture->invalid = true;
                code = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            }
}

// --- contexts ---

API cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice ordinal) {
    CALL("cuDevicePrimaryCtxRetain", DRIVER);
    if (ordinal < 0 || ordinal >= int(state().devices.size())) return CUDA_ERROR_INVALID_DEVICE;
    Device &device = state().devices[ordinal];
    device.retained++;
    *context = reinterpret_cast<CUcontext>(&device);
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRelease(CUdevice ordinal) {
    Call call("cuDevicePrimaryCtxRelease", DRIVER);
    if (call.misuse) return call.code;
    if (ordinal < 0 || ordinal >= int(state().devices.size())) return CUDA_ERROR_INVALID_DEVICE;
    Device &device = state().devices[ordinal];
    if (!device.retained) return CUDA_ERROR_INVALID_CONTEXT;
    if (!--device.retained) device.lost = CUDA_SUCCESS;  // the next context is a new one
    return call.code;
}

API cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned *flags, int *active) {
    CALL("cuDevicePrimaryCtxGetState", DRIVER);
    if (ordinal < 0 || ordinal >= int(state().devices.size())) return CUDA_ERROR_INVALID_DEVICE;
    *flags = state().devices[ordinal].flags;
    *active = state().devices[ordinal].retained > 0;
    return CUDA_SUCCESS;
}

API cuCtxPushCurrent(CUcontext context) {
    CALL("cuCtxPushCurrent", DRIVER);
    auto *device = reinterpret_cast<Device *>(context);
    if (!device || !device->retained) return CUDA_ERROR_INVALID_CONTEXT;
    contexts().push_back(device);
    return CUDA_SUCCESS;
}

API cuCtxPopCurrent(CUcontext *context) {
    Call call("cuCtxPopCurrent", DRIVER);
    if (call.misuse) return call.code;
    if (contexts().empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (context) *context = reinterpret_cast<CUcontext>(contexts().back());
    contexts().pop_back();
    return call.code;
}

API cuCtxSetCurrent(CUcontext context) {
    CALL("cuCtxSetCurrent", DRIVER);
    if (!contexts().empty()) contexts().pop_back();
    if (context) contexts().push_back(reinterpret_cast<Device *>(context));
    return CUDA_SUCCESS;
}

API cuCtxGetCurrent(CUcontext *context) {
    CALL("cuCtxGetCurrent", DRIVER);
    *context = contexts().empty() ? nullptr : reinterpret_cast<CUcontext>(contexts().back());
    return CUDA_SUCCESS;
}

API cuCtxGetDevice(CUdevice *ordinal) {
    CALL("cuCtxGetDevice", CONTEXT);
    *ordinal = CUdevice(call.device() - state().devices.data());
    return CUDA_SUCCESS;
}

API cuCtxGetApiVersion(CUcontext, unsigned *version) {
    CALL("cuCtxGetApiVersion", DRIVER);
    *version = 3020;
    return CUDA_SUCCESS;
}

API cuCtxSynchronize(void) {
    CALL("cuCtxSynchronize", UNCAPTURED);
    drain(call, call.device(), true);
    return call.device()->lost;
}

// --- control: what tests may ask and set ---

#define CONTROL extern "C" __attribute__((visibility("default")))

static void plan(const std::string &text) {  // "name:at:code" or "name:at:code:lasting", separated by commas
    std::stringstream faults(text);
    for (std::string each; std::getline(faults, each, ',');) {
        std::stringstream parts(each);
        std::string name, at, code, lasting;
        std::getline(parts, name, ':');
        std::getline(parts, at, ':');
        std::getline(parts, code, ':');
        std::getline(parts, lasting, ':');
        state().faults.push_back({name, atoi(at.c_str()), CUresult(atoi(code.c_str())), !lasting.empty()});
    }
}

static std::string uuid(const Device &device) {
    char byte[3];
    snprintf(byte, sizeof byte, "%02x", device.number);
    std::string text = "GPU-";
    for (int place = 0; place < 16; ++place) text += (place == 4 || place == 6 || place == 8 || place == 10 ? "-" : "") + std::string(byte);
    return text;
}

// Numbers the devices, and keeps those that CUDA_VISIBLE_DEVICES lists, by index or by the beginning of a UUID, in its order. As in
// CUDA, the first that does not exist ends the list.
static void hide() {
    std::vector<Device> all;
    for (auto &each : state().devices) each.number = int(&each - state().devices.data()) + 1;
    const char *listed = getenv("CUDA_VISIBLE_DEVICES");
    if (!listed) return;
    state().devices.swap(all);
    std::stringstream words(listed);
    for (std::string word; std::getline(words, word, ',');) {
        auto found = std::find_if(all.begin(), all.end(), [&](const Device &each) {
            return word == std::to_string(each.number - 1) || (word.size() > 4 && uuid(each).rfind(word, 0) == 0);
        });
        if (found == all.end()) return;
        state().devices.push_back(*found);
    }
}

__attribute__((constructor)) static void plug_in() {
    const std::map<std::string, Device> kinds = {
        {"t4", {"Tesla T4", 7, 5, 40, 4 << 20, 15843721216}},
        {"a10", {"NVIDIA A10", 8, 6, 72, 6 << 20, 23609475072}},
        {"a10g", {"NVIDIA A10G", 8, 6, 80, 6 << 20, 23609475072}},
        {"v100", {"Tesla V100-SXM2-16GB", 7, 0, 80, 6 << 20, 16945512448}},
        {"rtx3080-10gb", {"NVIDIA GeForce RTX 3080", 8, 6, 68, 5 << 20, 10737418240}},
        {"rtx3080-12gb", {"NVIDIA GeForce RTX 3080", 8, 6, 70, 6 << 20, 12884901888}},
    };
    const char *gpus = getenv("TRTZOO_EMULATED_GPUS"), *faults = getenv("TRTZOO_EMULATED_FAULTS");
    std::stringstream names(gpus ? gpus : "t4");
    for (std::string name; std::getline(names, name, ',');) {
        state().devices.push_back(kinds.at(name));
        // A result that leaves the tests must not look like one of the real card.
        if (!getenv("TRTZOO_EMULATED_PLAIN_NAMES")) state().devices.back().name += " (emulated)";
    }
    hide();
    if (faults) plan(faults);
}

CONTROL void emulated_faults(const char *text) {
    std::lock_guard guard(state().lock);
    state().faults.clear();
    plan(text);
}

CONTROL void emulated_reset() {  // forget what an earlier test left; its memory stays, for those who may still touch it
    std::lock_guard guard(state().lock);
    auto &all = state();
    all.defaults.clear(), all.streams.clear(), all.events.clear(), all.graphs.clear(), all.executables.clear();
    all.memory.clear(), all.pinned.clear(), all.log.clear(), all.faults.clear();
    all.busy = 0;
    contexts().clear();
    for (auto &device : all.devices) device.retained = 0, device.lost = CUDA_SUCCESS;
}

CONTROL const char *emulated_log() {  // the calls since the last question, one a line
    static std::string text;
    std::lock_guard guard(state().lock);
    text.clear();
    for (auto &name : state().log) text += name + "\n";
    state().log.clear();
    return text.c_str();
}

CONTROL const char *emulated_counts() {  // JSON: what is alive, and what was freed too early since the last question
    static std::string text;
    std::lock_guard guard(state().lock);
    int retained = 0;
    for (auto &device : state().devices) retained += device.retained;
    std::ostringstream out;
    out << "{\"allocations\": " << state().memory.size() << ", \"pinned\": " << state().pinned.size()
        << ", \"streams\": " << state().streams.size() << ", \"events\": " << state().events.size()
        << ", \"graphs\": " << state().graphs.size() << ", \"executables\": " << state().executables.size()
        << ", \"retained\": " << retained << ", \"current\": " << contexts().size() << ", \"busy\": " << state().busy << "}";
    state().busy = 0;
    return (text = out.str()).c_str();
}

CONTROL size_t emulated_room(uintptr_t address) {  // bytes from here to the end of the device allocation; 0 outside of any
    std::lock_guard guard(state().lock);
    auto next = state().memory.upper_bound(address);
    if (next == state().memory.begin()) return 0;
    auto &[start, block] = *--next;
    return address < start + block.size ? start + block.size - address : 0;
}
