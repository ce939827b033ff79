"""Segment a small phantom once: compiles and caches what numba compiles, and proves that the environment works."""

import mitonb as mn

stack, truth = mn.phantom((16, 96, 96), seed=1)
labels = mn.segment(stack, mn.PRESETS["volume"], show=False)
mn.measure(labels, stack=stack)
mn.score(labels, truth)
mn.decode(mn.targets(truth.data[8]))
