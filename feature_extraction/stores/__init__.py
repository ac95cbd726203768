"""Object stores, by their addresses: `s3://bucket/key`, `gs://...`, `hf://datasets/...`, `https://host/...`.

1. `opening`: what speaks to a store, once a process; what it says becomes an `OSError` with a sentence.
2. `objects`: a file in a store, read whole or by ranges.
3. `listing`: the images of an address.
4. `places`: where parts of features are committed. Files are created, never written over, renamed or locked.

https has a client of its own (`web`), which asks no address that is not public; the others are fsspec's.
"""
