# SPDX-License-Identifier: Apache-2.0
"""Lines of text that are hard to tokenise, from a seed: the same lines on every machine."""

import random

WORDS = (
    "the of and to in is that it was for on are with as his they at be this have from or one had by word but not "
    "what all were we when your can said there use an each which she do how their if will up other about out many "
    "then them these so some her would make like him into time has look two more write go see number no way could "
    "people my than first water been call who oil its now find long down day did get come made may part I'm don't "
    "you'll we've they'd it's he's can't SHE'S DON'T I'LL WE'RE o'clock rock'n'roll antidisestablishmentarianism "
    "tokenization preference reward alignment HTTPServer snake_case camelCase kebab-case e-mail naïve café Zürich "
    "coöperate façade Ångström Łódź İstanbul straße ﬁne ﬂow"
).split()
SENTENCES = [
    "Быстрая коричневая лиса прыгает через ленивую собаку.", "Η γρήγορη καφέ αλεπού πηδάει πάνω από τον σκύλο.",
    "敏捷的棕色狐狸跳过了懒狗。今天是2024年5月17日。", "素早い茶色の狐がのろまな犬を飛び越える。カタカナとﾊﾝｶｸ。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다.", "الثعلب البني السريع يقفز فوق الكلب الكسول. ١٢٣٤٥", "השועל החום המהיר קופץ מעל הכלב העצלן.",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। १२३", "দ্রুত বাদামী শিয়াল অলস কুকুরের উপর লাফ দেয়।", "வேகமான பழுப்பு நரி சோம்பேறி நாயின் மேல் குதிக்கிறது.",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ ๑๒๓", "ရိုင်းသော ခွေးကို ကျော်သည်။", "ഒരു തവിട്ട് കുറുക്കൻ ചാടുന്നു.", "ፈጣን ቡናማ ቀበሮ ዘለለ።", "სწრაფი ყავისფერი მელა",
    "Արագ շագանակագույն աղվեսը", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "ᚠᛇᚻ᛫ᛒᛦᚦ᛫ᚠᚱᚩᚠᚢᚱ", "Tiếng Việt có nhiều dấu thanh: ổ, ữ, ặ, ễ.", "O gato comeu a maçã; São Paulo às três.",
    "Größe, Übermut, Äpfel und ß-Ligaturen: Straße.", "Ça va? Où est l'œuvre d'été?", "¿Dónde está el niño? ¡Aquí, señor!", "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig.", "Ꙁємлѧ ѿ словесъ", "ᠮᠣᠩᠭᠣᠯ᠎ᠠ ᠪᠢᠴᠢᠭ", "𐌰𐌱𐌲 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 𐐷𐑉", "ꞌꟋꟚ 𐗀𐗁 𞓐𞓑 𑼀𑼂 𲎯",
]
CODE = [
    "def f(x, *, y=1):\treturn x**2 + y  # square", "    for (int i = 0; i < n; ++i) { sum += a[i]; }", "if (x >= 10 && y != 0x1F) goto end;", "let xs = rows.map { $0.id ?? -1 }",
    "SELECT * FROM t WHERE a='it''s' AND b<=3.14e-10;", "<div class=\"a b\">&nbsp;</div><!-- c -->", "$ git commit -m 'fix: don\\'t crash' && echo $?", "{\"a\":[1,2,{\"b\":null}],\"c\":1e5}",
    "\\begin{equation} \\alpha_{ij}^{2} \\end{equation}", "https://example.com/a/b?c=d&e=f#g", "C:\\Users\\name\\file.txt", "\t\tprintf(\"%d\\n\", 100000);", "x<-c(1,2,3);y=x%*%t(x)", "#!/usr/bin/env python3", "| a | b |:--|--:|",
    "std::vector<std::pair<int,int>> v;", "== != === !== <= >= -> => |> <| :: ... ..= //", "/* c */ // d ### ---- ==== **** ____ ~~~~", "0b1010 0o17 0xDEADBEEF 1_000_000 3.14159 1,234,567.89 v1.2.3-rc.4",
]
EMOJI = "😀 😂 ❤️ 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷🇯🇵 👩🏿‍🚀 🧑‍💻 ☕️ 🫠 🪿 🫨 ✅ ™ © 1️⃣ #️⃣ 🤷🏻‍♀️ 🦾".split(" ")
SPACES = " ,  ,   ,\t,\t\t, \t ,\u00a0,\u2003,\u200b,\u200c,\u200d,\u2028,\u2029,\u3000,\ufeff,\u0085,\u180e,\x0b,\x0c,\r,\r\r,\x1c,\x1f,\u1680,\u202f,\u205f".split(",")
CONTROL = "\x00 \x01 \x07 \x08 \x1b \x7f \u0080 \u009f \u00ad \ufffd \ufffe \uffff \U0010ffff \ue000 \u202e \u2066".split(" ")
MARKS = ["\u0301", "\u0308", "\u0327", "\u0338", "\u20dd", "\u0489", "\u093f", "\u0e33", "\ufe0f", "\U000e0101", "\u3099", "\u1ab0", "\u0897"]
NUMBERS = ["½", "²", "Ⅷ", "①", "٣", "४", "五", "〇", "𝟗", "１２３", "12345678901234567890", "3.14", "1,000", "2024-05-17T12:34:56Z", "+1 (555) 010-9999", "𑽐𑽑", "߁߂"]
PUNCTUATION = "! ? . , ; : - – — … \" ' “ ” ‘ ’ « » ( ) [ ] { } < > / \\ | @ # $ % ^ & * _ + = ~ ` € £ ¥ § ¶ • † ‡ ° ± × ÷ √ ∞ ≈ ≠ ≤ ∑ ∫ → ⇒ ★ ♫ 、 。 「 」 ！ ？ ، ؟ ।".split(" ")


def scalar(random_):
    """Any scalar value, the low planes more often."""
    while True:
        c = random_.randrange(random_.choice([0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x110000]))
        if not 0xD800 <= c < 0xE000 and c != 0x0A:
            return chr(c)


def lines(count, seed=0, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>")):
    """`count` lines without line feeds; `special` are texts of special tokens to mix in."""
    r = random.Random(seed)
    kinds = [
        (12, lambda: r.choice(WORDS)), (4, lambda: r.choice(WORDS).upper()), (3, lambda: r.choice(WORDS).title()),
        (4, lambda: r.choice(SENTENCES)), (3, lambda: r.choice(CODE)), (3, lambda: r.choice(EMOJI)), (1, lambda: r.choice(CONTROL)),
        (2, lambda: r.choice(WORDS) + r.choice(MARKS)), (1, lambda: "".join(r.choice(MARKS) for _ in range(r.randrange(1, 4)))),
        (3, lambda: r.choice(NUMBERS)), (2, lambda: str(r.randrange(10 ** r.randrange(1, 12)))), (5, lambda: r.choice(PUNCTUATION)),
        (2, lambda: r.choice(PUNCTUATION) * r.randrange(1, 7)), (2, lambda: "".join(scalar(r) for _ in range(r.randrange(1, 6)))),
        (1, lambda: r.choice(special)), (1, lambda: (t := r.choice(special))[: r.randrange(len(t))] + t[r.randrange(len(t)):]),
        (1, lambda: r.choice(SENTENCES)[: r.randrange(1, 20)]), (1, lambda: r.choice("abcxyz01 é中😀") * r.randrange(1, 90)),
        (1, lambda: "'" + r.choice("s t re ve m ll d S T RE VE M LL D ſ x".split())),
    ]
    weights, makers = [w for w, _ in kinds], [m for _, m in kinds]
    out = ["", " ", "  ", "\t", "\r", "'", "''s", "a" * 3000, " " * 500, "\u0301" * 200, "1" * 300]
    while len(out) < count:
        line = ""
        for maker in r.choices(makers, weights, k=r.choice([1, 2, 3, 5, 8, 13, 30])):
            line += maker()
            line += " " if r.random() < 0.6 else r.choice(SPACES) * r.choice([1, 1, 1, 2, 5]) if r.random() < 0.4 else ""
        out.append(line.replace("\n", ""))
    return out[:count]
