"""`trtzoo clean`."""

from pathlib import Path
from typing import Annotated

from typer import Option

from trtzoo.cli import options
from trtzoo.cli.application import command, print_json
from trtzoo.core.console import log, print_result
from trtzoo.core.files import size_text
from trtzoo.core.records import SCHEMA


@command("clean")
def clean(
    verify: Annotated[bool, Option("--verify", help="Hash every file; exit with 1 if one is damaged.")] = False,
    delete: Annotated[bool, Option("--delete", help="Delete what is listed (default: list it only).")] = False,
    form: options.TextFormat = "text",
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    results: options.Results = Path("benchmarks"),
) -> bool:
    """List or delete files of trtzoo's that are damaged, stale or left over, in these folders and in the cache of downloads.

    Stale is what another export, build or measurement would replace. Other files are not touched.

    Examples: trtzoo clean; trtzoo clean --verify; trtzoo clean --delete
    """
    from trtzoo.api import cleaning

    cleaner = cleaning.Cleaner(onnx=onnx_dir, engines=engines_dir, results=results, verify=verify)
    rows, total, failed = [], 0, False
    for item, examine in cleaner.find():
        kept = cleaning.delete(item, examine) if delete else ""
        failed |= bool(kept) or (verify and not delete and item.kind == "damaged")
        deleted, total = delete and not kept, total + item.bytes
        rows.append({"kind": item.kind, "why": item.why, "paths": item.paths, "bytes": item.bytes, "deleted": deleted})
        if kept:
            log.error("%s is kept: %s.", item.paths[0], kept)
        if form == "text":
            what = "deleted" if deleted else "kept" if delete else item.kind
            print_result(f"{what:<8} {size_text(item.bytes):>7}  {item.paths[0]}  {item.why}")
    if form == "json":
        print_json({"schema": SCHEMA, "bytes": total, "items": rows})
    elif rows and not delete:
        log.info("%s in all. To delete it: trtzoo clean --delete", size_text(total))
    elif not rows:
        log.info("There is nothing to delete.")
    return failed
