"""FastChat's files of MT-Bench, which have our own row types."""

from bezoar.steps.data.formats.common import Format, as_rows
from bezoar.steps.data.rows import AnswerRow, JudgePromptRow, QuestionRow

QUESTIONS = Format("questions", as_rows(QuestionRow), ("question_id", "category", "turns"))
REFERENCES = Format("references", as_rows(AnswerRow), ("question_id", "answer_id", "choices"))
JUDGE_PROMPTS = Format("judge_prompts", as_rows(JudgePromptRow), ("name", "prompt_template", "output_format"))
