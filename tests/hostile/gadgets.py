"""Pickles that run code, and pickles and archives that claim or copy gigabytes: parts from which trials are put together."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from random import Random

COMMAND, CODE, FILE = "touch CANARY", "open('CANARY', 'w')", "CANARY"
SHELL = ("os.system", "posix.system", "nt.system", "os.popen", "subprocess.getoutput", "subprocess.call", "subprocess.Popen")
SHELL += ("subprocess.check_output", "subprocess.run", "pty.spawn", "platform.popen", "commands.getoutput", "popen2.popen2")
SHELL += ("os.execlp", "os.spawnlp", "asyncio.create_subprocess_shell", "torch.utils.cpp_extension.subprocess.call")
SHELL += ("distutils.spawn.spawn", "pydoc.pipepager", "webbrowser.open", "multiprocessing.util.spawnv_passfds")
EVALUATE = ("builtins.eval", "builtins.exec", "__builtin__.eval", "__builtin__.execfile", "builtins.compile", "timeit.timeit")
EVALUATE += ("pdb.run", "bdb.Bdb.run", "cProfile.run", "profile.run", "trace.Trace.run", "code.interact", "runpy._run_code")
EVALUATE += ("numpy.testing._private.utils.runstring", "numpy.testing.rundocs", "numpy.f2py.crackfortran.myeval")
EVALUATE += ("pandas.eval", "sympy.sympify", "torch.fx.graph_module._exec_with_source", "torch.jit.annotations.get_signature")
EVALUATE += ("torch._dynamo.guards.eval", "logging.config._resolve", "typing.ForwardRef._evaluate", "ast.literal_eval")
LOAD = ("builtins.open", "io.open", "_io.FileIO", "pathlib.Path.touch", "os.remove", "os.mkdir", "shutil.rmtree", "numpy.load")
LOAD += ("numpy.save", "numpy.memmap", "numpy.fromfile", "numpy.ctypeslib.load_library", "ctypes.CDLL", "runpy.run_path")
LOAD += ("importlib.import_module", "builtins.__import__", "imp.load_source", "torch.load", "torch.jit.load", "torch.hub.load")
LOAD += ("torch.save", "torch.ops.load_library", "torch.classes.load_library", "torch.package.PackageImporter")
LOAD += ("torch.storage._load_from_bytes", "torch.UntypedStorage.from_file", "torch.serialization._legacy_load")
LOAD += (
    "pickle.loads",
    "_pickle.loads",
    "marshal.loads",
    "shelve.open",
    "dbm.open",
    "sqlite3.connect",
    "socket.create_connection",
)
LOAD += ("urllib.request.urlopen", "trtzoo.core.modules.resolve", "trtzoo.models.download.fetch", "cv2.imwrite", "onnx.load")
OTHER = ("builtins.getattr", "builtins.setattr", "builtins.vars", "builtins.globals", "builtins.breakpoint", "builtins.input")
OTHER += (
    "operator.attrgetter",
    "operator.methodcaller",
    "operator.call",
    "functools.partial",
    "functools.reduce",
    "types.CodeType",
)
OTHER += (
    "types.FunctionType",
    "copyreg._reconstructor",
    "copyreg.__newobj__",
    "copyreg.add_extension",
    "copy.copy",
    "os._exit",
)
OTHER += ("sys.exit", "os.kill", "os.fork", "faulthandler._sigsegv", "gc.get_objects", "sys.setrecursionlimit", "signal.alarm")
OTHER += ("torch.set_default_dtype", "torch.manual_seed", "torch.Tensor.__setstate__", "torch._utils._import_dotted_name")
OTHER += ("torch._utils._rebuild_wrapper_subclass", "torch._tensor._rebuild_from_type_v2", "torch.nn.Module.load_state_dict")
OTHER += (
    "torch.nn.modules.container.Sequential",
    "torch._C._cuda_init",
    "torch.multiprocessing.spawn",
    "torch.ByteStorage.new",
)
OTHER += (
    "numpy.core.multiarray._reconstruct.__class__",
    "collections.OrderedDict.__init__.__globals__",
    "builtins.eval.__self__",
)
OTHER += (
    "numpy.dtype.__reduce__",
    "numpy.ndarray.__setstate__",
    "builtins.type",
    "builtins.object.__reduce_ex__",
    "builtins.map",
)
OTHER += ("_codecs.lookup", "_codecs.register", "codecs.encode", "zlib.decompress", "builtins.bytearray", "builtins.bytes")
OTHER += ("builtins.range", "builtins.pow", "builtins.str", "builtins.set", "itertools.repeat", "numpy.zeros", "torch.zeros")
CALLS = tuple(
    (name, argument) for names, argument in ((SHELL, COMMAND), (EVALUATE, CODE), (LOAD, FILE), (OTHER, CODE)) for name in names
)
"""What a gadget calls, and with what."""
KNOWN = (
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer",
    "_codecs.encode",
)
KNOWN += ("collections.OrderedDict", "builtins.tuple", "builtins.eval", "torch.Size", "torch.FloatStorage", "torch.float32")
KNOWN += ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch._utils._rebuild_sparse_tensor")
"""What a reader of checkpoints has a stand-in for."""


# --- parts of a pickle ---


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = pickle.encode_long(value)
    return b"\x8a" + bytes([len(raw)]) + raw


def named(name: str, random: Random) -> bytes:
    """The operations that put a function on the stack, in one of the ways that a pickle has."""
    module, _, function = name.rpartition(".")
    parts = name.split(".")
    split = random.randrange(1, len(parts))
    match random.randrange(4):
        case 0:
            return f"c{module}\n{function}\n".encode()
        case 1:
            return text(module) + text(function) + b"\x93"
        case 2:  # a name with dots: getattr of getattr
            return text(".".join(parts[:split])) + text(".".join(parts[split:])) + b"\x93"
        case _:
            return b"\x82\x7b"  # an extension code; the trial registers it


def called(name: str, argument: bytes, random: Random) -> bytes:
    """The operations that call a function."""
    module, _, function = name.rpartition(".")
    match random.randrange(6):
        case 0:
            return named(name, random) + b"(" + argument + b"tR"
        case 1:
            return named(name, random) + argument + b"\x85\x81"
        case 2:
            return named(name, random) + argument + b"\x85}\x92"
        case 3:
            return b"(" + named(name, random) + argument + b"o"
        case 4:
            return b"(" + argument + f"i{module}\n{function}\n".encode()
        case _:
            return named(name, random) + argument + b"\x85R}" + text("__call__") + named(name, random) + b"sb"


def reduced(name: str, argument: str, random: Random) -> bytes:
    """A call that an object's `__reduce__` asks for, with further parts: state, items, a setter of the state."""
    rest = random.choice(
        (b"", b"}b", b"N}" + text("__class__") + b"Nsb\x30", b"(" + text("a") + b"e", b"(" + text("a") + b"Nu")
    )
    return called(name, text(argument), random) + rest.removesuffix(b"\x30")


def placed(gadget: bytes, random: Random) -> bytes:
    """The gadget in one of the places of a checkpoint."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text("b") + b"tR"
    state = b"cnumpy\ndtype\n(" + text("f4") + b"K\x00K\x01tR"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + gadget + b"K\x00)))\x89}tR"
    stored = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + gadget + text("cpu") + b"K\x01tQ"
    places = (
        gadget,
        b"]" + gadget + b"a",
        b"}" + text("a") + gadget + b"s",
        b"}" + gadget + b"Ns",
        b"}" + text("model") + b"}" + text("a") + gadget + b"ss",
        b"}" + text("state_dict") + b"}(" + text("a") + gadget + b"us",
        b"]q\x05" + gadget + b"q\x06ah\x06a",
        gadget + b"0}",
        b"(" + gadget + b"1}",
        gadget + b"Q",
        b"(" + text("storage") + gadget + text("0") + b"NK\x01tQ",
        b"}" + text("a") + stored + b"s",
        b"}" + text("a") + tensor + b"s",
        b"}" + text("a") + array + b"(K\x01K\x01\x85" + state + b"\x89" + gadget + b"tbs",
        b"}" + text("a") + array + b"(K\x01K\x01\x85" + gadget + b"\x89Ntbs",
        b"}" + text("a") + state + b"(K\x03" + gadget + b"NNNtbs",
        b"ccollections\nOrderedDict\n]" + gadget + text("x") + b"\x86a\x85R",
        b"cbuiltins\ntuple\n(" + gadget + gadget + b"l\x85R",
        b"cbuiltins\neval\n(" + text("data") + b"}" + text("data") + gadget + b"stR",
        b"ccollections\nOrderedDict\n)R}" + text("_metadata") + gadget + b"sb",
        b"ctorch._utils\n_rebuild_parameter\n(" + gadget + b"\x88}tR",
        b"N.\x80\x04" + gadget,
    )
    return random.choice(places)


def program(random: Random) -> bytes:
    """A pickle that calls one or two functions of a stranger's choice, or one whose call has a call as its argument."""
    name, argument = random.choice(CALLS)
    gadget = reduced(name, argument, random)
    if random.random() < 0.3:
        inner = reduced(*random.choice(CALLS), random)
        gadget = called(random.choice((*KNOWN, name)), inner, random)
    start = random.choice(
        (b"", *(bytes([0x80, protocol]) for protocol in range(6)), b"\x80\x04\x95" + struct.pack("<Q", 1 << 20))
    )
    return start + placed(gadget, random) + b"."


# --- pickles that make gigabytes ---


def bomb(suffix: str, random: Random) -> bytes:
    """A pickle that makes a large value once and copies, nests or claims it again and again, up to 500 kB."""
    size = random.choice((10, 1000, 50_000, 200_000))
    large = random.choice(
        (
            text("x" * size),
            b"B" + struct.pack("<I", size) + bytes(size),
            b"(" + b"N" * size + b"l",
            b"(" + b"N" * size + b"t",
            b"]" * size + b"a" * (size - 1),
            b")" + b"\x85" * size,
            b"}(" + b"".join(number(i << 40) + b"N" for i in range(size // 20)) + b"u",
            b"}(" + b"".join(number(i * ((1 << 61) - 1)) + b"N" for i in range(size // 20)) + b"u",
            b"\x8f(" + b"".join(number(i * ((1 << 61) - 1)) for i in range(size // 20)) + b"\x90",
            b"\x8b" + struct.pack("<I", size) + b"\x01" * size,
        )
    )
    state = b"(K\x01" + random.choice((b"K\x01\x85", b"((((ttt", b"J\xff\xff\xff\x7f\x85")) + b"h\x02\x89h\x01t"
    numpys = (
        b"c_codecs\nencode\n(h\x01" + text("latin1") + b"tR",
        b"c_codecs\nencode\nh\x01\x85R",
        b"cbuiltins\ntuple\nh\x01\x85R",
        b"cnumpy\nndarray\n)R" + state + b"b",
        b"cnumpy.core.numeric\n_frombuffer\n(h\x01h\x02K\x01\x85" + text("C") + b"tR",
    )
    shape = b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft(K\x00K\x00t\x89}t"
    torchs = (
        b"ctorch\nSize\nh\x01\x85R",
        b"ctorch._utils\n_rebuild_tensor_v2\n(h\x02K\x00" + shape + b"R",
        b"}" + text("a") + b"ctorch._utils\n_rebuild_tensor\n(h\x02K\x00h\x01h\x01tRs",
        b"(" + text("storage") + b"ctorch\nFloatStorage\nh\x01Nh\x01tQ",
        b"ctorch._utils\n_rebuild_parameter\n(h\x01\x88}tR",
    )
    pieces = (
        *(numpys if suffix == ".pdparams" else torchs),
        b"ccollections\nOrderedDict\nh\x01\x85R",
        b"(" + b"h\x01" * 50 + b"t",
        b"(" + b"h\x01" * 50 + b"l",
        b"h\x012222222\x87",
        b"}h\x01Ns",
        b"](h\x01h\x01e",
        b"\x8e" + struct.pack("<Q", 1 << random.randrange(20, 63)),
        b"\x8d" + struct.pack("<Q", 1 << random.randrange(20, 63)),
        b"\x96" + struct.pack("<Q", 1 << random.randrange(20, 63)),
        b"\x95" + struct.pack("<Q", 1 << random.randrange(20, 63)),
        b"\x8b" + struct.pack("<I", random.randrange(1 << 31)),
        b"r" + struct.pack("<I", random.randrange(1 << 32)),
        b"]", b"}", b"(", b"2", b"\x94", b"0", b"\x8f",
    )  # fmt: skip
    numpys_kind = b"cnumpy\ndtype\n(" + text("f4") + b"K\x00K\x01tR"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"J\xff\xff\xff\x7ftQ"
    kind = (numpys_kind if suffix == ".pdparams" else storage) + b"q\x020"
    chosen = random.choices(pieces, k=random.choice((1, 1, 2, 3)))
    repeats = random.randrange(1, max(2, 250_000 // sum(map(len, chosen))))
    end = random.choice((b".", b"0.", b"e.", b"}" + text("a") + b"Ns.", b""))
    return b"\x80\x04(" + kind + large + b"q\x01" + b"".join(chosen) * repeats + end


# --- files ---


def zipped(pickled: bytes, storages: int = 1) -> bytes:
    """A checkpoint as torch.save writes it, around any pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key in range(storages):
            archive.writestr(f"archive/data/{key}", bytes(16))
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def streamed(pickled: bytes) -> bytes:
    """A checkpoint as torch.save wrote it before 1.6, around any pickle."""
    start = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    head = b"".join(pickle.dumps(part, 2) for part in start)
    return head + pickled + pickle.dumps(["0"] if b"storage" in pickled else [], 2) + struct.pack("<q", 4) + bytes(16)


FILES: dict[str, Callable[[bytes], bytes]] = {
    ".pdparams": lambda pickled: pickled,
    ".pth": zipped,
    ".pt": streamed,
}


def header_bomb(random: Random) -> bytes:
    """A safetensors file with forged numbers, or with very many tensors, in its header."""
    number = random.choice(("0", "-1", "4", "16", "1e9", "4294967296", "18446744073709551615", "9" * 400))
    shape = random.choice(("[]", "[4]", f"[{number}]", f"[{number},{number}]", "[" * 200, "[" + "1," * 5000 + "4]"))
    kind = random.choice(("F32", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "X", ""))
    row = f'{{"dtype":"{kind}","shape":{shape},"data_offsets":[0,{random.choice((number, "16"))}]}}'
    rows = ",".join(f'"{index}":{row}' for index in range(random.choice((1, 1, 2, 20_000 if len(row) < 100 else 3))))
    header = random.choice((f"{{{rows}}}", f'{{"__metadata__":{rows[4:]},{rows}}}', "{" * 5000, rows)).encode()
    length = random.choice((len(header), len(header), 1 << random.randrange(63), len(header) + 16))
    return struct.pack("<Q", length) + header + bytes(16)


def archive_bomb(random: Random) -> bytes:
    """A zip file with forged numbers, repeated entries, compression, or a list of entries in another place."""
    tensors = b"\x80\x02}q\x00."
    match random.randrange(6):
        case 0:  # compressed
            out = io.BytesIO()
            method = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            with zipfile.ZipFile(out, "w", method) as archive:
                archive.writestr("archive/data.pkl", tensors + bytes(random.choice((1, 20_000_000))))
                archive.writestr("archive/data/0", bytes(random.choice((1, 20_000_000))))
            return out.getvalue()
        case 1:  # entries that share their bytes
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as archive:
                archive.writestr("archive/data.pkl", tensors)
                archive.writestr("archive/data/0", bytes(100_000))
                info = archive.getinfo("archive/data/0")
                archive.filelist += [info] * random.randrange(1, 2000)
            return out.getvalue()
        case 2:  # many entries without content
            entry = zipped(tensors, 0)
            start = entry.index(b"PK\x01\x02")
            rows = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[0] * 17, 0) * random.choice((10, 10, 1000, 200_000))
            return entry[:start] + rows + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(rows), start, 0)
        case 3:  # one archive in another
            return zipped(zipped(tensors)) + random.choice((b"", zipped(tensors)))
        case 4:  # zip64 numbers
            data = bytearray(zipped(tensors))
            at = data.index(b"PK\x01\x02")
            data[at + 20 : at + 28] = b"\xff" * 8
            return bytes(data)
        case _:
            data = bytearray(zipped(tensors, random.randrange(4)))
            for _ in range(random.randrange(1, 6)):
                at = random.choice([i for i in range(len(data) - 4) if data[i : i + 2] == b"PK"]) + random.randrange(46)
                value = random.choice((0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(data), random.randrange(1 << 32)))
                data[at : at + 4] = struct.pack("<I", value)
            return bytes(data)
