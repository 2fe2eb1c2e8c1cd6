"""Stage 3: top-1 and top-5 accuracy on labelled photographs, with a journal that survives a kill."""

from trtzoo.accuracy.records import Evaluation, EvaluationTask, load_evaluations

__all__ = ["Evaluation", "EvaluationTask", "load_evaluations"]
