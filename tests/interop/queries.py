"""Runs every Python block of a document in a folder, as a reader of the document would; prints their number.

    queries.py DOCUMENT FOLDER
"""
import json
import os
import pathlib
import re
import sys


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    os.chdir(sys.argv[2])
    out, sys.stdout = sys.stdout, sys.stderr
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    for block in blocks:
        exec(compile(block, sys.argv[1], "exec"), {})
    json.dump({"blocks": len(blocks)}, out)


main()
