// Our libnvidia-ml.so.1: what nvidia-ml-py asks of it, as scripted by TRTZOO_EMULATED_NVML, words with a space between:
//
//   sm=1590,1590,900   the SM clock in MHz at the first, second and every later question; so too
//   memory=5001 (MHz)  power=70000 (mW)  temperature=60  reasons=4 (bits)  used=1073741824 (bytes)
//   processes=7+8,7    the numbers of the processes on the GPU; `own` is the one that started the asking process
//   limit=70000 default_limit=70000 (mW)  max_sm max_memory app_sm app_memory default_app_sm (MHz)  ecc persistence compute mig
//   link=3 width=16 max_link=3 max_width=16 (PCIe)  clocks=300,945,1590 (MHz, all SM clocks); "-": not supported
//   fail=NAME:3:15     from the third call of the function on it returns 15; `abort` and `hang` instead of a number do that
//   bus=2              the GPU that is there has this PCI bus number (all of TRTZOO_EMULATED_GPUS, from 1 on)
//
// The driver's version is TRTZOO_EMULATED_DRIVER.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#define API extern "C" int

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

static std::vector<std::string> split(const std::string &text, char at) {
    std::vector<std::string> parts;
    std::stringstream stream(text);
    for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
    return parts;
}

// The values of a word of the script, or the default one.
static std::vector<std::string> word(const std::string &name, const std::string &usual) {
    const char *script = getenv("TRTZOO_EMULATED_NVML");
    for (auto &each : split(script ? script : "", ' '))
        if (each.rfind(name + "=", 0) == 0) return split(each.substr(name.size() + 1), ',');
    return split(usual, ',');
}

// The value for this question: the n-th for the n-th, the last for all later ones.
static std::string next(const std::string &name, const std::string &usual) {
    static std::map<std::string, size_t> asked;
    auto values = word(name, usual);
    return values[std::min(asked[name]++, values.size() - 1)];
}

// What this call shall return before anything else.
static int fault(const std::string &function) {
    static std::map<std::string, int> calls;
    int call = ++calls[function];
    for (auto &each : word("fail", "")) {
        auto parts = split(each, ':');
        if (parts[0] != function || call < atoi(parts[1].c_str())) continue;
        if (parts[2] == "abort") abort();
        if (parts[2] == "hang") pause();
        return atoi(parts[2].c_str());
    }
    return SUCCESS;
}

#define CALL() \
    if (int status = fault(__func__)) return status

API nvmlInitWithFlags(unsigned) {
    CALL();
    return SUCCESS;
}

API nvmlInit_v2() { return nvmlInitWithFlags(0); }

API nvmlSystemGetDriverVersion(char *text, unsigned size) {
    CALL();
    const char *emulated = getenv("TRTZOO_EMULATED_DRIVER");
    snprintf(text, size, "%s", emulated ? emulated : "575.57.08");
    return SUCCESS;
}

API nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device) {
    CALL();
    unsigned bus = 0;
    if (sscanf(id, "%*x:%x:", &bus) != 1) return INVALID_ARGUMENT;
    const char *gpus = getenv("TRTZOO_EMULATED_GPUS");
    unsigned count = unsigned(split(gpus ? gpus : "t4", ',').size()), only = unsigned(atoi(next("bus", "0").c_str()));
    if (only ? bus != only : bus < 1 || bus > count) return NOT_FOUND;
    *device = reinterpret_cast<void *>(size_t(bus));
    return SUCCESS;
}

static int answer(const char *name, const char *usual, unsigned *value) {
    std::string text = next(name, usual);
    *value = unsigned(strtoul(text.c_str(), nullptr, 0));
    return text == "-" ? NOT_SUPPORTED : SUCCESS;
}

API nvmlDeviceGetClockInfo(void *, unsigned kind, unsigned *megahertz) {
    CALL();
    if (kind != 1 && kind != 2) return INVALID_ARGUMENT;
    return kind == 1 ? answer("sm", "1590", megahertz) : answer("memory", "5001", megahertz);
}

API nvmlDeviceGetPowerUsage(void *, unsigned *milliwatts) {
    CALL();
    return answer("power", "60000", milliwatts);
}

struct Temperature {
    unsigned version, sensor;
    int temperature;
};

API nvmlDeviceGetTemperatureV(void *, Temperature *found) {
    CALL();
    found->temperature = atoi(next("temperature", "55").c_str());
    return SUCCESS;
}

API nvmlDeviceGetTemperature(void *, unsigned, unsigned *degrees) {
    CALL();
    return answer("temperature", "55", degrees);
}

static int reasons(unsigned long long *bits) {
    *bits = strtoull(next("reasons", "0").c_str(), nullptr, 0);
    return SUCCESS;
}

API nvmlDeviceGetCurrentClocksEventReasons(void *, unsigned long long *bits) {
    CALL();
    return reasons(bits);
}

API nvmlDeviceGetCurrentClocksThrottleReasons(void *, unsigned long long *bits) {
    CALL();
    return reasons(bits);
}

struct Memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

API nvmlDeviceGetMemoryInfo_v2(void *, Memory *found) {
    CALL();
    if (found->version != 0x02000028) return INVALID_ARGUMENT;
    found->used = strtoull(next("used", "1073741824").c_str(), nullptr, 0);
    return SUCCESS;
}

struct OldMemory {
    unsigned long long total, free, used;
};

API nvmlDeviceGetMemoryInfo(void *, OldMemory *found) {
    CALL();
    found->used = strtoull(next("used", "1073741824").c_str(), nullptr, 0);
    return SUCCESS;
}

struct Process {
    unsigned number;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
};

// Asked for the count first, then for as many: both questions are one of the script's.
static int processes(unsigned *count, Process *found) {
    static std::vector<std::string> listed;
    if (!found) listed = split(next("processes", "own"), '+');
    bool fits = *count >= listed.size();
    *count = unsigned(listed.size());
    if (!fits) return INSUFFICIENT_SIZE;
    for (size_t index = 0; index < listed.size() && found; ++index)
        found[index] = {listed[index] == "own" ? unsigned(getppid()) : unsigned(atoi(listed[index].c_str())), 1 << 30, ~0u, ~0u};
    return SUCCESS;
}

API nvmlDeviceGetComputeRunningProcesses_v3(void *, unsigned *count, Process *found) {
    CALL();
    return processes(count, found);
}

API nvmlDeviceGetComputeRunningProcesses_v2(void *, unsigned *count, Process *found) {
    CALL();
    return processes(count, found);
}

// --- settings: those of a T4 as it is delivered ---

#define SETTING(function, name, usual)         \
    API function(void *, unsigned *value) {    \
        CALL();                                \
        return answer(name, usual, value);     \
    }

SETTING(nvmlDeviceGetEnforcedPowerLimit, "limit", "70000")
SETTING(nvmlDeviceGetPowerManagementDefaultLimit, "default_limit", "70000")
SETTING(nvmlDeviceGetPersistenceMode, "persistence", "0")
SETTING(nvmlDeviceGetComputeMode, "compute", "0")
SETTING(nvmlDeviceGetCurrPcieLinkGeneration, "link", "3")
SETTING(nvmlDeviceGetCurrPcieLinkWidth, "width", "16")
SETTING(nvmlDeviceGetMaxPcieLinkGeneration, "max_link", "3")
SETTING(nvmlDeviceGetMaxPcieLinkWidth, "max_width", "16")

API nvmlDeviceGetMaxClockInfo(void *, unsigned kind, unsigned *megahertz) {
    CALL();
    return kind == 1 ? answer("max_sm", "1590", megahertz) : answer("max_memory", "5001", megahertz);
}

API nvmlDeviceGetApplicationsClock(void *, unsigned kind, unsigned *megahertz) {
    CALL();
    return kind == 0 ? answer("app_sm", "585", megahertz) : answer("app_memory", "5001", megahertz);
}

API nvmlDeviceGetDefaultApplicationsClock(void *, unsigned, unsigned *megahertz) {
    CALL();
    return answer("default_app_sm", "585", megahertz);
}

API nvmlDeviceGetEccMode(void *, unsigned *current, unsigned *pending) {
    CALL();
    *pending = 0;
    return answer("ecc", "1", current);
}

API nvmlDeviceGetMigMode(void *, unsigned *current, unsigned *pending) {
    CALL();
    *pending = 0;
    return answer("mig", "-", current);
}

static int listed(const char *name, const char *usual, unsigned *count, unsigned *values) {
    auto words = word(name, usual);
    if (words[0] == "-") return NOT_SUPPORTED;
    bool fits = *count >= words.size();
    *count = unsigned(words.size());
    if (!fits) return INSUFFICIENT_SIZE;
    for (size_t index = 0; index < words.size(); ++index) values[index] = unsigned(atoi(words[index].c_str()));
    return SUCCESS;
}

API nvmlDeviceGetSupportedMemoryClocks(void *, unsigned *count, unsigned *megahertz) {
    CALL();
    return listed("memory_clocks", "5001,405", count, megahertz);
}

API nvmlDeviceGetSupportedGraphicsClocks(void *, unsigned memory, unsigned *count, unsigned *megahertz) {
    CALL();
    if (memory != 5001) return INVALID_ARGUMENT;
    return listed("clocks", "1590,1245,945,585,300", count, megahertz);
}
