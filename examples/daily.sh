#!/bin/sh
# A day in the life of a model: the model that is served is measured on today's log, trained on with it, and replaced where the new one is
# no worse on rows that neither was trained on.
#
#     daily.sh RECIPE DATA MODELS DAY        today's tables are in DATA, the models in MODELS, one folder a day
set -eu
recipe=$1 data=$2 models=$3 day=$4
stem=${STEM:-stem}
served=$models/served.safetensors
out=$models/$day

if [ ! -e "$served" ]; then # the first day
    "$stem" train --recipe "$recipe" --data "$data" --out "$out" --resume
    cp "$out/bundle.safetensors" "$served.new" && mv "$served.new" "$served"
    exit 0
fi

# How good was it today? None of these rows has it seen.
"$stem" evaluate --bundle "$served" --recipe "$recipe" --data "$data" --out "$out/before"

# Train it on. --resume goes on where a crash has left it.
"$stem" train --from "$served" --recipe "$recipe" --data "$data" --out "$out" --resume

# May it take the other's place? On the recipe's test split of today, which neither was trained on.
code=0
"$stem" evaluate --bundle "$out/bundle.safetensors" --against "$served" --recipe "$recipe" --data "$data" \
    --split test --margin "${MARGIN:-0.002}" --out "$out/after" || code=$?
case $code in
0) cp "$out/bundle.safetensors" "$served.new" && mv "$served.new" "$served" ;; # whoever serves opens one or the other, whole
3) echo "$day: the new model is not shown to be no worse; the old one stays" >&2 ;;
esac
exit $code
