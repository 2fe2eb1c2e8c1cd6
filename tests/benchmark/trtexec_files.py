"""Files as trtexec writes them."""

import msgspec


def query(start=300.0, h2d=0.1, compute=4.0, d2h=0.02, enqueue=0.5, names=("h2dMs", "d2hMs")):
    return {
        "startEnqMs": start - enqueue,
        "endEnqMs": start,
        "startComputeMs": start,
        names[0]: h2d,
        "computeMs": compute,
        names[1]: d2h,
        "latencyMs": h2d + compute + d2h,
    }


def write(path, rows):
    path.write_bytes(msgspec.json.encode(rows))
    return path
