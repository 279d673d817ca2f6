.PHONY: check lint test slow browser docs demo format

check: lint test  ## everything a change must pass

lint:  ## layout, style, types, which package may import which, and dead code
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	vulture

test:  ## the default suite, with coverage of the packages
	python -m pytest -n auto --cov --cov-fail-under=90

slow:  ## minutes long: twenty kills of a run, and the like
	python -m pytest -n auto --dist worksteal -m "slow and not gpu and not soak"

browser:  ## the review page in a headless Chromium; skipped where there is none
	python -m pytest -m browser

docs:  ## the site of the docs, without a broken link; needs docs/requirements.txt
	mkdocs build --strict

demo:  ## the main job on the embedded digits
	python train.py

format:
	ruff format .
	ruff check --fix .
