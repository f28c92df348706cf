"""Sentences put together from a few words, for machines without a text in the language. They mean nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator

# Who, does, what, how, joined by the last: four lists of words for each language.
WORDS: dict[str, tuple[str, str, str, str, str]] = {
    "english": (
        "the teacher|a child|my neighbour|the old sailor|every guest|our doctor|the young woman|nobody",
        "reads|finds|remembers|buys|forgets|paints|sells|describes",
        "a letter|the small house|the red boat|an apple|the song|this picture|the long road|some bread",
        "in the morning|near the river|without a word|with great care|after the rain|once more|at home|in winter",
        " ",
    ),
    "german": (
        "der Lehrer|ein Kind|mein Nachbar|der alte Seemann|jeder Gast|unsere Ärztin|die junge Frau|niemand",
        "liest|findet|behält|kauft|vergisst|malt|verkauft|beschreibt",
        "einen Brief|das kleine Haus|das rote Boot|einen Apfel|das Lied|dieses Bild|den langen Weg|etwas Brot",
        "am Morgen|nahe dem Fluss|ohne ein Wort|mit großer Sorgfalt|nach dem Regen|noch einmal|zu Hause|im Winter",
        " ",
    ),
    "french": (
        "le professeur|un enfant|mon voisin|le vieux marin|chaque invité|notre médecin|la jeune femme|personne d'autre",
        "lit|trouve|retient|achète|oublie|peint|vend|décrit",
        "une lettre|la petite maison|le bateau rouge|une pomme|la chanson|cette image|la longue route|du pain",
        "le matin|près de la rivière|sans un mot|avec grand soin|après la pluie|encore une fois|à la maison|en hiver",
        " ",
    ),
    "spanish": (
        "el maestro|un niño|mi vecino|el viejo marinero|cada invitado|nuestra médica|la joven|alguien",
        "lee|encuentra|recuerda|compra|olvida|pinta|vende|describe",
        "una carta|la casa pequeña|el barco rojo|una manzana|la canción|este cuadro|el largo camino|algo de pan",
        "por la mañana|cerca del río|sin una palabra|con mucho cuidado|después de la lluvia|otra vez|en casa|en enero",
        " ",
    ),
    "russian": (
        "учитель|ребёнок|мой сосед|старый моряк|каждый гость|наш врач|молодая женщина|кто-то",
        "читает|находит|помнит|покупает|забывает|рисует|продаёт|описывает",
        "письмо|маленький дом|красную лодку|яблоко|песню|эту картину|длинную дорогу|немного хлеба",
        "утром|у реки|без слова|очень осторожно|после дождя|ещё раз|дома|зимой",
        " ",
    ),
    "japanese": (
        "先生は|子供が|隣の人は|年老いた船乗りが|客はみな|医者は|若い女性が|だれかが",
        "読む|見つける|覚えている|買う|忘れる|描く|売る|説明する",
        "手紙を|小さな家を|赤い舟を|林檎を|その歌を|この絵を|長い道を|パンを",
        "朝に|川のそばで|何も言わずに|とても丁寧に|雨のあとで|もう一度|家で|冬に",
        "",
    ),
}


def sentences(language: str) -> Iterator[str]:
    """Without end; the same each time."""
    draw = random.Random(language)
    who, does, what, how, between = WORDS[language]
    lists = [words.split("|") for words in (who, does, what, how)]
    while True:
        parts = [draw.choice(words) for words in lists]
        if language == "japanese":
            parts = [parts[0], parts[3], parts[2], parts[1]]  # the verb comes last
        first = between.join(parts)
        number = draw.randrange(2, 10_000)
        yield f"{first[0].upper()}{first[1:]} ({number})" + ("。" if language == "japanese" else ".")
