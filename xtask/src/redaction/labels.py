"""Which labels of the texts are wrong, by facts that no detector is asked for: check digits, forms that a standard gives,
values of the same text that have no label. Prints one line each: SHA-256 of the text (16 digits), first character, character
behind the last, entity, reason. The texts themselves are nobody's to copy."""

import hashlib
import ipaddress
import json
import pathlib
import re
import sys

DATA = pathlib.Path(sys.argv[1])


def digits(value):
    return [int(c) for c in value if c.isdigit()]


def luhn(value):
    return sum(sum(divmod(d << i % 2, 10)) for i, d in enumerate(reversed(digits(value)))) % 10 == 0


def mod97(value):
    plain = "".join(c for c in value if c.isalnum()).upper()
    return len(plain) > 14 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def address(value):
    try:
        # The unspecified address is nobody's.
        return not ipaddress.ip_interface(value.split("%")[0]).ip.is_unspecified
    except ValueError:
        return False


def ssn(value):
    plain = "".join(c for c in value if c.isdigit())
    area, group, serial = plain[:3], plain[3:5], plain[5:]
    return len(plain) == 9 and area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def nhs(value):
    d = digits(value)
    return len(d) == 10 and (11 - sum(n * (10 - i) for i, n in enumerate(d[:9])) % 11) % 11 == d[9]


def aadhaar(value):
    # No number that is issued begins with 0 or 1.
    d = digits(value)
    return len(d) == 12 and d[0] > 1


def nric(value):
    # The first letter says which series it is of.
    return re.fullmatch(r"[STFGM]\d{7}[A-Z]", value.upper())


def pan(value):
    # The fourth letter says what its holder is.
    return re.fullmatch(r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", re.sub(r"[ -]", "", value).upper())


def nif(value):
    plain = re.sub(r"[ -]", "", value).upper()
    number = plain[:-1].translate(str.maketrans("XYZ", "012"))
    return number.isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1]


def pesel(value):
    d = digits(value)
    return len(d) == 11 and sum(n * w for n, w in zip(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1))) % 10 == 0


def fiscal(value):
    odd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]
    plain = value.replace(" ", "").upper()
    if not re.fullmatch(r"[A-Z]{6}\w{2}[A-Z]\w{2}[A-Z]\w{3}[A-Z]", plain):
        return False
    of = lambda c: int(c) if c.isdigit() else ord(c) - 65
    total = sum(odd[of(c)] if i % 2 == 0 else of(c) for i, c in enumerate(plain[:15]))
    return chr(65 + total % 26) == plain[15]


def insured(value):
    plain = value.replace(" ", "").upper()
    if not re.fullmatch(r"\d{8}[A-Z]\d{3}", plain):
        return False
    spelled = plain[:8] + f"{ord(plain[8]) - 64:02}" + plain[9:11]
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    return sum(sum(divmod(int(d) * w, 10)) for d, w in zip(spelled, weights)) % 10 == int(plain[11])


def taxed(value):
    # Of the first ten digits at least one stands more than once.
    d = digits(value)
    return len(d) == 11 and len(set(d[:10])) < 10


# Entity: what makes a label of it right, and what is said of one that is not.
RIGHT = {
    "CREDIT_CARD": (lambda v: 12 < len(digits(v)) < 20 and luhn(v), "no card: length or check digit"),
    "IBAN_CODE": (mod97, "no IBAN: the remainder by 97 is not 1"),
    "EMAIL_ADDRESS": (lambda v: re.fullmatch(r"\S+@[\w-]+(\.[\w-]+)+", v), "no address: a part is missing, or more than one is labelled"),
    "IP_ADDRESS": (address, "no address of a host"),
    "IN_AADHAAR": (aadhaar, "its first digit is that of no number that is issued"),
    "SG_NRIC_FIN": (nric, "its first letter is that of no series"),
    "US_SSN": (ssn, "no number that was ever issued"),
    "UK_NHS": (nhs, "its check digit is another one"),
    "IN_PAN": (pan, "its fourth letter is no kind of holder, or its form is another one"),
    "ES_NIF": (nif, "its letter is another one"),
    "ES_NIE": (nif, "its letter is another one"),
    "PL_PESEL": (pesel, "its check digit is another one"),
    "DE_TAX_ID": (taxed, "its first ten digits are all different, as in no number that is issued"),
    "CA_SIN": (luhn, "its check digit is another one"),
    "IT_FISCAL_CODE": (fiscal, "its last letter is another one"),
    "DE_SOCIAL_SECURITY": (insured, "its check digit is another one"),
}
# Entity: values that tell themselves, wherever they stand.
SURE = {
    "EMAIL_ADDRESS": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", lambda v: True),
    "IBAN_CODE": (r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b", mod97),
    "IP_ADDRESS": (r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)", address),
}


def records():
    for name in ("generated_small", "generated_large"):
        for one in json.loads((DATA / f"presidio-research/{name}.json").read_text()):
            spans = [(s["entity_type"], s["start_position"], s["end_position"]) for s in one["spans"]]
            yield one["full_text"], spans, set(SURE)
    for case in json.loads((DATA / "presidio-unit/cases.json").read_text()):
        entities, spans = case.get("entities") or [], case.get("spans") or []
        # A case whose spans are not all given says too little.
        if len(entities) == 1 and len(spans) == (case.get("expected_len") or 0):
            yield case["text"], [(entities[0], *span) for span in spans], set(entities)


seen = set()
for text, spans, judged in records():
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    found = []
    for entity, start, end in spans:
        value = text[start:end]
        if value != value.strip():
            found.append((start, end, entity, "white space is labelled too"))
        elif text[start - 1 : start].isdigit() and value[:1].isdigit() or text[end : end + 1].isdigit() and value[-1:].isdigit():
            found.append((start, end, entity, "a part of a longer number"))
        elif entity == "IP_ADDRESS" and re.match(r"\.\d", text[end:]):
            found.append((start, end, entity, "a part of a longer number"))
        if entity in RIGHT and not RIGHT[entity][0](value.strip()):
            found.append((start, end, entity, RIGHT[entity][1]))
    for entity in sorted(judged & set(SURE)):
        form, right = SURE[entity]
        for hit in re.finditer(form, text):
            covered = any(start < hit.end() and hit.start() < end for _, start, end in spans)
            if right(hit.group()) and not covered:
                found.append((hit.start(), hit.end(), entity, "has no label"))
    for start, end, entity, why in sorted(found):
        line = f"{name}\t{start}\t{end}\t{entity}\t{why}"
        if line not in seen:
            seen.add(line)
            print(line)
