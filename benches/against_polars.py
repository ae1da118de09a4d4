"""What a Python user writes to encode the TikTok format: Polars, minimum count 10, ids as columns of a Parquet file.

    pip install polars
    python benches/against_polars.py DIR
"""

import json
import resource
import sys
import time

import polars as pl

COLUMNS = [
    "uid", "user_city", "item_id", "author_id", "item_city", "channel", "finish", "like", "music_id", "device_id",
    "create_time", "video_duration",
]
FIELDS = ["uid", "user_city", "item_id", "author_id", "item_city", "channel", "music_id", "device_id"]

begun = time.time()
rows = pl.read_csv(f"{sys.argv[1]}/final_track1_train.txt", separator="\t", has_header=False, new_columns=COLUMNS)
rows = rows.with_columns(pl.Series("part", pl.arange(0, rows.height, eager=True).shuffle(1) * 10 // rows.height))
train = rows.filter(pl.col("part") < 8)
for field in FIELDS:
    counts = train[field].value_counts().filter(pl.col("count") >= 10).sort(field)
    ids = counts.select(field, pl.arange(1, counts.height + 1, dtype=pl.UInt32, eager=True).alias(f"{field}_id"))
    rows = rows.join(ids, on=field, how="left", maintain_order="left").with_columns(
        pl.col(f"{field}_id").fill_null(counts.height + 1)
    )
for part, low, high in [("train", 0, 8), ("valid", 8, 9), ("test", 9, 10)]:
    one = rows.filter(pl.col("part").is_between(low, high, closed="left"))
    one.select([f"{f}_id" for f in FIELDS] + ["finish", "like", "uid"]).write_parquet(f"{sys.argv[1]}/{part}.parquet")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
print(json.dumps({"rows": rows.height, "seconds": time.time() - begun, "rss_gb": peak}))
