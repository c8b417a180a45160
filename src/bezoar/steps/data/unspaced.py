"""Scripts that are written without spaces between words: wherever words are counted or compared, a character is one.

Han, kana, Bopomofo, Yi, Thai, Lao, Myanmar, Khmer. Hangul has spaces.
"""

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff\U00016fe0-\U00018dff\U0001b000-\U0001b2ff\U00020000-\U0003ffff"
)  # of a character class of `re`
