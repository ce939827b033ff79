"""The course: questions that check themselves, what they are about, and notebooks for students and teachers."""

from mitonb.lessons.checking import Result, check, class_table, keep
from mitonb.lessons.course import write_course
from mitonb.lessons.judges import QUESTIONS
from mitonb.lessons.material import animals, block, example, ideal, network_maps, proofreading, tiny, whole_forward
from mitonb.plot import panels

__all__ = [
    "QUESTIONS", "Result", "animals", "block", "check", "class_table", "example", "ideal", "keep", "network_maps",
    "panels", "proofreading", "tiny", "whole_forward", "write_course",
]  # fmt: skip
