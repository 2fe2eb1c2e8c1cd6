"""The emulated driver itself, used by two libraries that do not know about it: PyCUDA and cuda-bindings."""

import ctypes
import os
import subprocess
import sys
import time

import numpy as np
import pytest


@pytest.fixture
def drv(driver):
    """PyCUDA, with the first device's primary context current."""
    import pycuda.driver  # only the child process has it

    pycuda.driver.init()
    context = pycuda.driver.Device(0).retain_primary_context()
    context.push()
    yield pycuda.driver
    pycuda.driver.Context.pop()
    context.detach()
    ctypes.CDLL("libcuda.so.1").cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))  # PyCUDA's detach leaves it


@pytest.fixture
def cuda(driver):
    from cuda.bindings import driver as bindings  # only the child process has it

    def call(name, *arguments):
        status, *values = getattr(bindings, name)(*arguments)
        if status:
            raise RuntimeError(status.name)
        return values[0] if len(values) == 1 else tuple(values) or None

    call.bindings = bindings
    return call


def buffers(drv, count=4):
    """Pinned memory with numbers, empty pinned memory, device memory of the same size, and a stream."""
    sent, got = (drv.pagelocked_empty(count, np.float32) for _ in range(2))
    sent[:] = range(count)
    return sent, got, drv.mem_alloc(sent.nbytes), drv.Stream(1)


# --- devices ---


def test_both_libraries_see_a_t4_and_an_a10(drv, cuda):
    seen = [(drv.Device(index).name(), drv.Device(index).compute_capability()) for index in range(drv.Device.count())]
    assert seen == [("Tesla T4", (7, 5)), ("NVIDIA A10", (8, 6))]
    for index, (name, capability) in enumerate(seen):
        device = cuda("cuDeviceGet", index)
        assert cuda("cuDeviceGetName", 64, device).split(b"\0")[0].decode() == name
        attributes = cuda.bindings.CUdevice_attribute
        major = cuda("cuDeviceGetAttribute", attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
        assert major == capability[0]
        assert cuda("cuDeviceTotalMem", device) == drv.Device(index).total_memory()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TRTZOO_EMULATED_GPUS": ""}, "cannot open device 0: cuInit failed: no CUDA-capable device is detected"),
        ({"TRTZOO_EMULATED_FAULTS": "cuDeviceGet:1:999"}, "cannot open device 0: cuDeviceGet failed: unknown error"),
    ],
)
def test_devices_and_faults_are_set_by_the_environment(driver, variables, words):
    code = "from trtzoo.runtimes.cuda import primary_context; primary_context(0).__enter__()"
    env = os.environ | variables
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"trtzoo.core.errors.MachineError: The NVIDIA driver {words}"


def test_nothing_works_without_a_current_context(driver, cuda):
    cuda("cuInit", 0)
    for name, arguments in {"cuMemAlloc": (4,), "cuStreamCreate": (1,), "cuEventCreate": (0,), "cuCtxSynchronize": ()}.items():
        with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_CONTEXT"):
            cuda(name, *arguments)


def test_pycudas_detach_leaves_the_context_current(driver):
    """This is why trtzoo pops it once more."""
    import pycuda.driver  # only the child process has it

    pycuda.driver.init()
    context = pycuda.driver.Device(0).retain_primary_context()
    context.push()
    pycuda.driver.Context.pop()
    assert driver.counts() == {"retained": 1}
    context.detach()
    assert driver.counts() == {"current": 1}
    ctypes.CDLL("libcuda.so.1").cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


# --- streams and events ---


def test_work_is_done_when_it_is_waited_for(drv):
    sent, got, memory, stream = buffers(drv)
    drv.memcpy_htod_async(memory, sent, stream)
    drv.memcpy_dtoh_async(got, memory, stream)
    assert np.isnan(got).all()
    assert not stream.is_done()
    stream.synchronize()
    assert (got == sent).all()
    assert stream.is_done()


def test_polling_also_completes_the_work(drv):
    sent, got, memory, stream = buffers(drv)
    drv.memcpy_htod_async(memory, sent, stream)
    drv.memcpy_dtoh_async(got, memory, stream)
    event = drv.Event()
    event.record(stream)
    looks = 0
    while not event.query():
        looks += 1
    assert (looks, list(got)) == (3, list(sent))


def test_a_pair_of_events_times_the_work_between_them(drv, cuda):
    stream, start, end = drv.Stream(1), drv.Event(), drv.Event()
    nap = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: time.sleep(0.02))
    start.record(stream)
    cuda("cuLaunchHostFunc", stream.handle, cuda.bindings.CUhostFn(ctypes.cast(nap, ctypes.c_void_p).value), 0)
    end.record(stream)
    with pytest.raises(drv.Error, match="device not ready"):
        start.time_till(end)
    end.synchronize()
    assert 20 <= start.time_till(end) < 200
    assert end.time_till(start) == -start.time_till(end)


def test_an_event_that_was_never_recorded_has_no_time(drv):
    with pytest.raises(drv.Error, match="invalid resource handle"):
        drv.Event().time_till(drv.Event())


def test_a_stream_waits_for_the_event_of_another(drv):
    sent, got, memory, first = buffers(drv)
    second, event = drv.Stream(1), drv.Event()
    drv.memcpy_htod_async(memory, sent, first)
    event.record(first)
    second.wait_for_event(event)
    drv.memcpy_dtoh_async(got, memory, second)
    second.synchronize()
    assert (got == sent).all()


def test_a_copy_without_a_stream_does_not_wait_for_ours(drv):
    """Our streams do not block stream 0: code that mixes the two reads old data."""
    sent, got, memory, stream = buffers(drv)
    drv.memset_d8(memory, 0, sent.nbytes)
    drv.memcpy_htod_async(memory, sent, stream)
    drv.memcpy_dtoh(got, memory)
    assert (got == 0).all()
    stream.synchronize()


def test_pageable_memory_is_read_at_once(drv):
    sent, got, memory, stream = buffers(drv)
    pageable = sent.copy()
    drv.memcpy_htod_async(memory, pageable, stream)
    pageable[:] = -1
    drv.memcpy_dtoh_async(got, memory, stream)
    stream.synchronize()
    assert (got == sent).all()


# --- memory ---


@pytest.mark.parametrize("name", ["memcpy_htod", "memcpy_dtoh"])
def test_a_copy_over_the_end_of_device_memory_is_refused(drv, name):
    memory, large = drv.mem_alloc(16), np.zeros(5, np.float32)
    arguments = (memory, large) if name == "memcpy_htod" else (large, memory)
    with pytest.raises(drv.LogicError, match="invalid argument"):
        getattr(drv, name)(*arguments)


def test_memory_is_as_large_as_the_devices(drv):
    free, total = drv.mem_get_info()
    assert free == total == 15843721216
    with pytest.raises(drv.MemoryError, match="cuMemAlloc failed: out of memory"):
        drv.mem_alloc(total + 1)
    memory = drv.mem_alloc(1 << 20)
    assert drv.mem_get_info()[0] == total - (1 << 20)
    memory.free()


def test_memory_is_freed_once(drv, cuda):
    address = cuda("cuMemAlloc", 64)
    cuda("cuMemFree", address)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        cuda("cuMemFree", address)


def test_memory_that_is_freed_while_work_waits_is_counted(drv, driver):
    sent, _, memory, stream = buffers(drv)
    drv.memcpy_htod_async(memory, sent, stream)
    memory.free()
    assert driver.counts()["busy"] == 1


# --- capture ---


def test_pycuda_captures_into_a_graph_of_cuda_bindings(drv, cuda):
    sent, got, memory, stream = buffers(drv)
    cuda("cuStreamBeginCapture", stream.handle, cuda.bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
    drv.memcpy_htod_async(memory, sent, stream)
    drv.memcpy_dtoh_async(got, memory, stream)
    graph = cuda("cuStreamEndCapture", stream.handle)
    executable = cuda("cuGraphInstantiate", graph, 0)
    nodes, count = cuda("cuGraphGetNodes", graph, 2)
    memcpy = cuda.bindings.CUgraphNodeType.CU_GRAPH_NODE_TYPE_MEMCPY
    assert [cuda("cuGraphNodeGetType", node) for node in nodes] == [memcpy] * count
    cuda("cuGraphDestroy", graph)
    stream.synchronize()
    assert np.isnan(got).all()
    for value in (7, 9):
        sent[:] = value
        cuda("cuGraphLaunch", executable, stream.handle)
        stream.synchronize()
        assert (got == value).all()
    cuda("cuGraphExecDestroy", executable)


@pytest.mark.parametrize("forbidden", ["allocation", "waiting", "a copy without a stream"])
def test_a_call_that_is_forbidden_in_a_capture_ends_it(drv, cuda, forbidden):
    sent, _, memory, stream = buffers(drv)
    cuda("cuStreamBeginCapture", stream.handle, cuda.bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
    do = {
        "allocation": lambda: drv.mem_alloc(4),
        "waiting": stream.synchronize,
        "a copy without a stream": lambda: drv.memcpy_htod(memory, sent),
    }
    with pytest.raises(drv.Error, match="operation not permitted when stream is capturing"):
        do[forbidden]()
    with pytest.raises(RuntimeError, match="CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"):
        cuda("cuStreamEndCapture", stream.handle)
    drv.memcpy_htod_async(memory, sent, stream)
    stream.synchronize()


# --- failures, and what is not there ---


def test_a_fault_occurs_at_the_call_it_was_set_for(drv, driver):
    driver.fail("cuEventCreate:2:999")
    drv.Event()
    with pytest.raises(drv.Error, match="cuEventCreate failed: unknown error"):
        drv.Event()
    drv.Event()


def test_a_lost_device_stays_lost_until_it_has_a_new_context(drv, driver):
    sent, _, memory, stream = buffers(drv)
    driver.fail("work:1:700")
    drv.memcpy_htod_async(memory, sent, stream)
    for _once in range(2):
        with pytest.raises(drv.Error, match="an illegal memory access was encountered"):
            stream.synchronize()


def test_functions_that_are_not_emulated_return_not_supported(drv, cuda):
    with pytest.raises(RuntimeError, match="CUDA_ERROR_NOT_SUPPORTED"):
        cuda("cuMemAllocManaged", 4, 1)
    with pytest.raises(drv.Error, match="operation not supported"):
        drv.managed_empty(4, np.uint8, mem_flags=drv.mem_attach_flags.GLOBAL)


@pytest.mark.parametrize(
    ("name", "version", "wanted"),
    [
        ("cuMemAlloc", 2000, "cuMemAlloc"),
        ("cuMemAlloc", 3010, "cuMemAlloc"),
        ("cuMemAlloc", 3020, "cuMemAlloc_v2"),
        ("cuMemAlloc", 99999, "cuMemAlloc_v2"),
        ("cuGraphInstantiate", 11000, "cuGraphInstantiate_v2"),
        ("cuGraphInstantiate", 12000, "cuGraphInstantiateWithFlags"),
        ("cuStreamBeginCapture", 10010, "cuStreamBeginCapture_v2"),
        ("cuStreamBeginCapture", 9000, None),
        ("cuNoSuchFunction", 12000, None),
    ],
)
def test_the_newest_variant_up_to_the_version_is_returned(driver, name, version, wanted):
    library = ctypes.CDLL("libcuda.so.1")
    found, status = ctypes.c_void_p(), ctypes.c_int()
    flags = ctypes.c_uint64(0)
    assert library.cuGetProcAddress_v2(name.encode(), ctypes.byref(found), version, flags, ctypes.byref(status)) == 0
    assert found.value == (ctypes.cast(library[wanted], ctypes.c_void_p).value if wanted else None)
    assert status.value == {"cuNoSuchFunction": 1}.get(name, 0 if wanted else 2)
