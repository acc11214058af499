// SPDX-License-Identifier: GPL-3.0-or-later
//! Every construct of pcre2pattern(3): it means what it means there, or it is refused.

use proptest::prelude::*;

use super::*;
use crate::matching::pattern::Pattern;

/// A regex with what it is found in and what not; all checked with PCRE2 10.42 (`PCRE2_UTF | PCRE2_CASELESS`).
const SAME: &[(&str, Option<&str>, Option<&str>)] = &[
    // Characters that mean themselves, and quoting.
    (r"a]}", Some("a]}"), Some("a]")),
    (r"\.\-\<\>\_\ \/", Some("x.-<>_ /"), Some(".-<>_/")),
    (r"\Qa.b[\E+c", Some("a.b[[c"), Some("axb[c")),
    (r"\Q(a", Some("(a"), Some("a")),
    (r"a\Eb", Some("ab"), Some("aEb")),
    (r"[\Qa-z\E]", Some("-"), Some("b")),
    (r"ż\ó", Some("żó"), Some("ż\\ó")),
    // Characters by number and name.
    (r"\a\e\f\n\r\t", Some("\u{7}\u{1b}\u{c}\n\r\t"), Some("aefnrt")),
    (r"\cA\c[\cz", Some("\u{1}\u{1b}\u{1a}"), Some("A[z")),
    (r"\x41\x{20AC}\x", Some("A€\u{0}"), Some("x41")),
    (r"\o{101}\101\012\0", Some("AA\n\u{0}"), Some("101")),
    (r"\N{U+41}", Some("A"), Some("N")),
    (r"[\b]", Some("\u{8}"), Some("b")),
    (r"()\18", Some("\u{1}8"), Some("18")),
    (r"[\1]", Some("\u{1}"), Some("1")),
    // Kinds of characters: ASCII, but for spaces of their own names.
    (r"^\d$", Some("5"), Some("٥")),
    (r"^\D$", Some("٥"), Some("5")),
    (r"^\w$", Some("_"), Some("é")),
    (r"^\W$", Some("é"), Some("_")),
    (r"^\s$", Some("\u{b}"), Some("\u{a0}")),
    (r"^\S$", Some("\u{a0}"), Some("\u{b}")),
    (r"^\h$", Some("\u{a0}"), Some("a")),
    (r"^\H$", Some("a"), Some("\u{180e}")),
    (r"^[\h]$", Some("\t"), Some("f")),
    (r"^[^\h]$", Some("f"), Some("\u{3000}")),
    (r"^\v$", Some("\u{2028}"), Some("v")),
    (r"^\V$", Some("v"), Some("\u{85}")),
    (r"^\N$", Some("\r"), Some("\n")),
    (r"(?s)^\N$", Some("x"), Some("\n")),
    (r"^.$", Some("\u{2028}"), Some("\n")),
    (r"^\R$", Some("\r\n"), Some("x")),
    (r"\R\n", Some("\r\n\n"), Some("\r\n")),
    // Unicode properties.
    (r"^\p{L}\pN$", Some("ż5"), Some("5ż")),
    (r"^\P{L}$", Some("5"), Some("ż")),
    (r"^\p{^L}$", Some("5"), Some("ż")),
    (r"^\P{^L}$", Some("ż"), Some("5")),
    (r"^\p{L&}$", Some("ż"), Some("ª")),
    (r"^\p{Greek}$", Some("α"), Some("a")),
    (r"^\p{sc=Greek}$", Some("α"), Some("a")),
    (r"^\p{Any}$", Some("\n"), Some("")),
    (r"^\p{Alphabetic}$", Some("ª"), Some("5")),
    (r"^\p{Xan}$", Some("½"), Some("_")),
    (r"^\p{Xps}$", Some("\u{a0}"), Some("a")),
    (r"^\p{Xsp}$", Some("\u{b}"), Some("a")),
    (r"^[\p{L}\d]$", Some("ż"), Some("٥")),
    (r"^[^\p{L}]$", Some("٥"), Some("ż")),
    (r"^[\P{L&}]$", Some("5"), Some("ż")),
    // Classes: operators of other engines mean themselves.
    (r"^[a-c]$", Some("B"), Some("d")),
    (r"^[^a-c]$", Some("\n"), Some("B")),
    (r"^[]a]$", Some("]"), Some("b")),
    (r"^[^]a]$", Some("b"), Some("]")),
    (r"^[a\]]$", Some("]"), Some("\\")),
    (r"^[-a]$", Some("-"), Some("b")),
    (r"^[a-]$", Some("-"), Some("b")),
    (r"^[a-c-e]$", Some("-"), Some("d")),
    (r"^[\w-]$", Some("-"), Some("+")),
    (r"^[a&&b]$", Some("&"), Some("c")),
    (r"^[a~~b]$", Some("~"), Some("c")),
    (r"^[+--]$", Some("-"), Some(".")),
    (r"^[a[]$", Some("["), Some("b")),
    (r"^[[a]]$", Some("[]"), Some("a")),
    (r"^[[a]&&[b]]$", Some("[&&b]"), Some("a")),
    (r"^[a-\x{e9}]$", Some("é"), Some("ÿ")),
    (r"^[.$*(|]$", Some("$"), Some("\\")),
    (r"^[k]$", Some("\u{212a}"), Some("l")),
    (r"^[\w]$", Some("k"), Some("\u{212a}")),
    // POSIX classes.
    (r"^[[:alpha:]]$", Some("a"), Some("ż")),
    (r"^[[:lower:]]$", Some("A"), Some("1")),
    (r"^[[:upper:]]$", Some("a"), Some("1")),
    (r"^[[:alnum:]]$", Some("1"), Some("_")),
    (r"^[[:ascii:]]$", Some("~"), Some("é")),
    (r"^[[:blank:]]$", Some("\t"), Some("\n")),
    (r"^[[:cntrl:]]$", Some("\u{7f}"), Some("a")),
    (r"^[[:digit:]]$", Some("1"), Some("٥")),
    (r"^[[:graph:]]$", Some("!"), Some(" ")),
    (r"^[[:print:]]$", Some(" "), Some("\t")),
    (r"^[[:punct:]]$", Some("["), Some("a")),
    (r"^[[:space:]]$", Some("\u{b}"), Some("\u{a0}")),
    (r"^[[:word:]]$", Some("_"), Some("-")),
    (r"^[[:xdigit:]]$", Some("F"), Some("g")),
    (r"^[[:^alpha:]x]$", Some("X"), Some("a")),
    (r"^[^[:alpha:]]$", Some("1"), Some("a")),
    (r"(?-i)^[[:upper:]]$", Some("A"), Some("a")),
    // Case.
    (r"abc", Some("ABC"), Some("abd")),
    (r"straße", Some("STRAßE"), Some("STRASSE")),
    (r"(?-i)abc", Some("abc"), Some("ABC")),
    (r"a(?-i)b", Some("Ab"), Some("AB")),
    (r"(a(?-i)b|c)d", Some("cD"), Some("CD")),
    (r"(?-i:a)b", Some("aB"), Some("AB")),
    (r"(?^:a)b", Some("aB"), Some("AB")),
    (r"σ", Some("ς"), Some("ο")),
    // Other options.
    (r"(?s)^.$", Some("\n"), Some("")),
    (r"(?m)^b$", Some("a\nb\nc"), Some("ab")),
    (r"(?x) a b # c", Some("ab"), Some("a b")),
    (r"(?x)a\ [ ]", Some("a  "), Some("a")),
    (r"(?xx)^[a b]$", Some("a"), Some(" ")),
    (r"(?U)^(a+)(a*)$", Some("aa"), Some("b")),
    (r"(?n)^(a)(?<x>b)\1$", Some("abb"), Some("aba")),
    (r"a(?i-s:B)c", Some("abC"), Some("ac")),
    (r"(?#comment)a(?#b)+$", Some("aa"), Some("ab")),
    // Places.
    (r"^a", Some("ab"), Some("\na")),
    (r"a$", Some("a\n"), Some("a\n\n")),
    (r"(?m)a$", Some("a\nb"), Some("ab")),
    (r"(?m)^$", Some("a\n\nb"), Some("a\n")),
    (r"\Aa", Some("ab"), Some("\na")),
    (r"a\z", Some("ba"), Some("a\n")),
    (r"a\Z", Some("a\n"), Some("ab")),
    (r"a$\n", Some("a\n"), Some("a")),
    (r"\bb", Some("a b"), Some("ab")),
    (r"\Bb", Some("ab"), Some("a b")),
    (r"é\b", Some("éa"), Some("é a")),
    (r"\Ga", Some("ab"), Some("ba")),
    (r"a\Kb", Some("ab"), Some("b")),
    // How often.
    (r"^a*b+c?$", Some("bb"), Some("ac")),
    (r"^a{2}$", Some("aa"), Some("a")),
    (r"^a{2,}$", Some("aaa"), Some("a")),
    (r"^a{1,2}$", Some("aa"), Some("aaa")),
    (r"^a{0}b$", Some("b"), Some("ab")),
    (r"^(a+?)(a*)$", Some("aa"), Some("b")),
    (r"^a??b$", Some("ab"), Some("aab")),
    (r"a{", Some("a{"), Some("a")),
    (r"a{b}", Some("a{b}"), Some("ab")),
    (r"a{,}", Some("a{,}"), Some("a")),
    (r"{a}", Some("{a}"), Some("a")),
    (r"^a{1", Some("a{1"), Some("a")),
    (r"^a++b", Some("aab"), Some("aac")),
    (r"^a++a", None, Some("aa")),
    (r"^a*+a", None, Some("aa")),
    (r"^a?+a", Some("aa"), Some("a")),
    (r"^a{1,2}+a", Some("aaa"), Some("aa")),
    // Groups.
    (r"^(a|b)c$", Some("bc"), Some("c")),
    (r"^(?:a|b)c$", Some("bc"), Some("c")),
    (r"^(?<n>a)\k<n>$", Some("aa"), Some("ab")),
    (r"^(?'n'a)\k'n'$", Some("aa"), Some("ab")),
    (r"^(?P<n>a)(?P=n)$", Some("aa"), Some("ab")),
    (r"^(?<n>a)\k{n}$", Some("aa"), Some("ab")),
    (r"^(?<n>a)\g{n}$", Some("aa"), Some("ab")),
    (r"^(?<ż>a)\k<ż>$", Some("aa"), Some("ab")),
    (r"^(?>a|ab)c", Some("ac"), Some("abc")),
    (r"^(*atomic:a|ab)c", Some("ac"), Some("abc")),
    (r"^a||b$", Some(""), None),
    (r"^()$", Some(""), Some("a")),
    // References.
    (r"^(a)\1$", Some("aA"), Some("ab")),
    (r"^(a)\g1$", Some("aa"), Some("ab")),
    (r"^(a)\g{1}$", Some("aa"), Some("ab")),
    (r"^(a)(b)\g{-1}$", Some("abb"), Some("aba")),
    (r"^(?:\g{+1}b|(a)){2}$", Some("aab"), Some("b")),
    (r"^(?-i)(a)\1$", Some("aa"), Some("aA")),
    (r"^(a)?\1$", Some("aa"), Some("")),
    (r"^(?:\k<n>b|(?<n>a))+$", Some("aab"), Some("b")),
    // Look-around.
    (r"a(?=b)", Some("ab"), Some("ac")),
    (r"a(?!b)", Some("ac"), Some("ab")),
    (r"(?<=a)b", Some("ab"), Some("cb")),
    (r"(?<!a)b", Some("cb"), Some("ab")),
    (r"(?<=a|bc)d", Some("bcd"), Some("cd")),
    (r"(*pla:b)b", Some("b"), Some("a")),
    (r"a(*positive_lookahead:b)", Some("ab"), Some("ac")),
    (r"a(*nla:b)", Some("ac"), Some("ab")),
    (r"a(*negative_lookahead:b)", Some("ac"), Some("ab")),
    (r"(*plb:a)b", Some("ab"), Some("cb")),
    (r"(*positive_lookbehind:a)b", Some("ab"), Some("cb")),
    (r"(*nlb:a)b", Some("cb"), Some("ab")),
    (r"(*negative_lookbehind:a)b", Some("cb"), Some("ab")),
    // Conditions.
    (r"^(a)?(?(1)b|c)$", Some("ab"), Some("ac")),
    (r"^(<)?a(?(1)>)$", Some("<a>"), Some("<a")),
    (r"^(?<n>a)?(?(<n>)b|c)$", Some("c"), Some("b")),
    (r"^(?<n>a)?(?('n')b|c)$", Some("ab"), Some("b")),
    (r"^(?<n>a)?(?(n)b|c)$", Some("ab"), Some("b")),
    (r"^(a)?(?(-1)b|c)$", Some("ab"), Some("b")),
    (r"^(?(?=a)ab|cd)$", Some("ab"), Some("ad")),
    (r"^(?(?!a)cd|ab)$", Some("cd"), Some("ad")),
    (r"^.(?(?<=a)b|c)$", Some("ab"), Some("bb")),
    (r"^.(?(?<!a)b|c)$", Some("bb"), Some("ab")),
    // Verbs and settings.
    (r"a(*F)|b", Some("b"), Some("a")),
    (r"a(*FAIL)|b", Some("b"), Some("a")),
    (r"(*UTF)^.$", Some("ż"), Some("ab")),
    (
        r"(*LF)(*BSR_UNICODE)(*NO_JIT)(*NO_START_OPT)(*NO_AUTO_POSSESS)(*NO_DOTSTAR_ANCHOR)a",
        Some("a"),
        Some("b"),
    ),
];

/// A regex that is refused, what is said of it, and what to write instead.
const REFUSED: &[(&str, &str, &str)] = &[
    // Characters.
    (r"a\", "nothing follows", r"\\"),
    (r"\i", r"no escape \i", "write i"),
    (r"\L", "Perl", "(?i:…)"),
    (r"\l", "Perl", "(?i:…)"),
    (r"\U", "Perl", "(?i:…)"),
    (r"\u0041", "Perl", r"\x{HEX}"),
    (r"\F", "Perl", r"\x{HEX}"),
    (r"\N{LATIN SMALL LETTER A}", "names of characters", r"\x{HEX}"),
    (r"\c", r"\c needs", r"\cX"),
    (r"\cé", r"\c needs", r"\cX"),
    (r"\x{}", "hexadecimal", r"\x{20AC}"),
    (r"\x{110000}", "hexadecimal", r"\x{20AC}"),
    (r"\x{d800}", "hexadecimal", r"\x{20AC}"),
    (r"\x{+1}", "hexadecimal", r"\x{20AC}"),
    (r"\x{41", "hexadecimal", r"\x{20AC}"),
    (r"\o{8}", "octal", r"\o{101}"),
    (r"\o", "digits between braces", r"\o{101}"),
    (r"\X", r"`\X`: characters together with their marks", r"\P{M}\p{M}*"),
    (r"\C", r"`\C`: single bytes", "write ."),
    (r"\b{wb}", r"`\b{wb}`: this kind of boundary", r"write \b"),
    // Properties.
    (r"(?i)\p{Lu}", "versions of PCRE", r"\p{L&}"),
    (r"\p{Ll}", "versions of PCRE", r"\p{L&}"),
    (r"\p{Xwd}", "not supported", r"[\p{L}\p{N}_]"),
    (r"\p{Xuc}", "not supported", r"\x{10FFFF}"),
    (r"\p{bidiclass:L}", "direction", r"\p{Hebrew}"),
    (r"\p{Letter}", "no such property", r"\p{L}"),
    (r"\p{Nonsense}", "no such property", r"\p{L}"),
    (r"\p{Lu", "never closed", "}"),
    // Classes.
    ("[a", "never closed", r"\["),
    ("[]", "never closed", r"\["),
    (r"[\d-z]", "hyphen", r"\-"),
    (r"[a-\d]", "hyphen", r"\-"),
    ("[[:alpha:]-z]", "hyphen", r"\-"),
    ("[z-a]", "ends before it begins: z-a", r"\-"),
    ("[a--b]", "ends before it begins", r"\-"),
    (r"[\N]", r"\N means nothing in a class", "N for the letter"),
    (r"[\R]", r"\R means nothing", "R for the letter"),
    (r"[\X]", r"\X means nothing", "X for the letter"),
    (r"[\z]", r"\z means nothing", "z for the letter"),
    ("[:alpha:]", "is outside of a class", "[[:alpha:]]"),
    ("[[:foo:]]", "no class [:foo:]", "alpha lower"),
    ("[[.a.]]", "collating", r"\["),
    ("[[=a=]]", "collating", r"\["),
    ("[.a.]", "collating", r"\["),
    ("[[:<:]]a", "boundary", r"\b(?=\w)"),
    ("a[[:>:]]", "boundary", r"\b(?<=\w)"),
    ("(?[[a]-[b]])", "classes with operators", "[a-z]"),
    // How often.
    ("*a", "nothing to repeat", r"\*"),
    ("a|+", "nothing to repeat", r"\*"),
    ("(?i)?", "nothing to repeat", r"\*"),
    ("{2}", "nothing to repeat", r"\{"),
    ("a**", "cannot be repeated", "(?:…)"),
    ("a{2}{3}", "cannot be repeated", "(?:…)"),
    ("^*", "a position cannot be repeated", "leave"),
    (r"\b+", "a position cannot be repeated", "leave"),
    ("(?=a)*", "a position cannot be repeated", "leave"),
    ("a{3,1}", "ends before it begins", "smaller"),
    ("a{65536}", "too often", "65535"),
    ("a{,2}", "`{,2}` means different things", r"write {0,2}, or \{,2}"),
    ("a{ 1, 2 }", "`{ 1, 2 }` means different things", r"write {1,2}"),
    ("(a){0}", "zero times", "leave it out"),
    ("(a*)*", "can match nothing", "+ for a *"),
    ("(?:a|b?)+", "can match nothing", "+ for a *"),
    (r"(?:\p{L}{1000}){1000}", "too large", "repeat less"),
    // Groups.
    ("(a", "never closed", ")"),
    ("(?", "never closed", ")"),
    ("(?i", "never closed", ")"),
    ("(?#a", "comment", ")"),
    ("a)", "no group is open", r"\)"),
    ("(?<n>a)(?<n>b)", "two groups named n", "another name"),
    ("(?<1>a)", "`1` is not a valid name", "with a digit"),
    ("(?<>a)", "is not a valid name", "letters"),
    ("(?<n-m>a)", "is not a valid name", "letters"),
    ("(?<n", "never closed", ">"),
    ("(?|(a)|(b))", "restart the numbering of groups", "(?:…)"),
    ("(?z)", "no option z", "i m s x n U"),
    ("(?J)", "several groups with the same name", "its own name"),
    ("(?r)a", "within ASCII", "leave the r out"),
    ("(?C)", "callouts", "leave it out"),
    ("(?C1)a", "callouts", "leave it out"),
    ("(?{code})", "code", "leave it out"),
    ("(??{code})", "code", "leave it out"),
    ("(?~a)", "absent", "(?:(?!…).)*"),
    // References and recursion.
    (r"\1", "no group number 1", "it has no groups"),
    (r"(a)\2", "no group number 2", "it has 1"),
    (r"\8", "no group number 8", "it has no groups"),
    (r"(a\1)", "refers to itself", "behind its closing bracket"),
    (r"\k<n>", "no group named n", "(?<NAME>…)"),
    (r"\kn", "name of a group is missing", r"\k<NAME>"),
    (r"\g", "no such group", r"\g{1}"),
    (r"\g{0}", "no such group", r"\g{1}"),
    (r"\g{-1}", "no such group", r"\g{1}"),
    (r"(a)\g{1", "no such group", r"\g{1}"),
    (r"(a)\g<1>", "recursion", "write out"),
    (r"(?<n>a)\g'n'", "recursion", "write out"),
    ("a(?R)?b", "`(?R)`: recursion", "write out"),
    ("(?0)", "recursion", "write out"),
    ("(a)(?1)", "`(?1)`: recursion", "write out"),
    ("(a)(?-1)", "recursion", "write out"),
    ("(?+1)(a)", "recursion", "write out"),
    ("(?<n>a)(?&n)", "recursion", "write out"),
    ("(?<n>a)(?P>n)", "recursion", "write out"),
    // Look-around and conditions.
    ("(?<=a+)b", "how far this looks behind", r"\K"),
    (r"(a)(?<=\1)b", "how far this looks behind", r"\K"),
    ("(?<=(a)|bc)b", "several lengths", "(?:…)"),
    (r"(?=a\K)", r"\K inside", "outside"),
    ("(?*a)", "non-atomic", "(?=…)"),
    ("(?<*a)", "non-atomic", "(?<=…)"),
    ("(*napla:a)", "non-atomic", "(?=…)"),
    ("(*non_atomic_positive_lookbehind:a)", "non-atomic", "(?<=…)"),
    ("(?(1)a)", "no group number 1", "it has no groups"),
    ("(a)(?(1)a|b|c)", "two branches", "(?:…)"),
    ("(?(n)a)", "no group named n", "(?<NAME>…)"),
    ("(?(R)a|b)", "recursion", "write out"),
    ("(?(R1)a|b)", "recursion", "write out"),
    ("(?(R&n)a|b)", "recursion", "write out"),
    ("(?(DEFINE)a)", "recursion", "write out"),
    ("(?(VERSION>=10)a)", "version", "the branch"),
    ("(?(?C1)a)", "this condition", "(?(1)…|…)"),
    ("(?(?=(a))a)", "condition with groups", "(?:…)"),
    // Verbs and settings.
    ("a(*ACCEPT)b", "ending a match early", "(?:…|)"),
    ("a(*COMMIT)b", "control of backtracking", "(?>…)"),
    ("a(*PRUNE)b", "control of backtracking", "(?>…)"),
    ("a(*SKIP)(*F)|b", "`(*SKIP)`: control of backtracking", "/A/ && !/B/"),
    ("a(*SKIP:x)b", "control of backtracking", "(?>…)"),
    ("a(*THEN)b", "control of backtracking", "(?>…)"),
    ("(*MARK:x)a", "marks", "leave it out"),
    ("(*:x)a", "marks", "leave it out"),
    ("(*F:x)a", "names of verbs", "(*FAIL)"),
    (r"(*sr:\w)", "script runs", r"\p{Greek}"),
    (r"(*atomic_script_run:\w)", "script runs", r"\p{Greek}"),
    ("(*foo)a", "no verb (*foo)", r"\(\*"),
    ("a(*UTF)", "only valid at the start", "move it"),
    ("(*UCP)a", "this setting", r"\p{L}"),
    ("(*CR)a", "this setting", r"[^\r]"),
    ("(*CRLF)a", "this setting", r"[^\r\n]"),
    ("(*ANYCRLF)a", "this setting", r"[^\r\n]"),
    ("(*ANY)a", "this setting", r"\V"),
    ("(*NUL)a", "this setting", r"[^\0]"),
    ("(*BSR_ANYCRLF)a", "this setting", r"(?>\r\n|\r|\n)"),
    ("(*NOTEMPTY)a", "this setting", "+ for *"),
    ("(*NOTEMPTY_ATSTART)a", "this setting", "+ for *"),
    ("(*UTF)(*LIMIT_MATCH=5)a", "`(*LIMIT_MATCH=5)`: this setting", "limited anyway"),
    ("(*LIMIT_HEAP=5)a", "this setting", "limited anyway"),
    ("(*LIMIT_DEPTH=5)a", "this setting", "limited anyway"),
];

fn parse(regex: &str) -> Result<Pattern, PatternError> {
    Pattern::parse(regex, Case::Ignored)
}

#[test]
fn what_is_taken_means_the_same() {
    for (regex, found_in, not_in) in SAME {
        let pattern = parse(regex).unwrap_or_else(|error| panic!("{regex}: {error:?}"));
        for (text, is_found) in [(found_in, true), (not_in, false)] {
            let Some(text) = text else { continue };
            assert_eq!(pattern.is_found(text), Ok(is_found), "{regex} in {text:?}");
            let has_need = pattern.need.iter().any(|need| text.to_ascii_lowercase().contains(need));
            let is_folded = text.contains(['\u{17f}', '\u{212a}']);
            assert!(
                !is_found || pattern.need.is_empty() || has_need || is_folded,
                "{regex}: {:?}",
                pattern.need
            );
        }
    }
}

#[test]
fn what_is_refused_is_named_with_what_to_write() {
    for (regex, words, help) in REFUSED {
        let error = parse(regex).map(|_| regex).unwrap_err();
        assert!(error.message.contains(words), "{regex}: {error:?}");
        assert!(error.help.as_ref().is_some_and(|told| told.contains(help)), "{regex}: {error:?}");
    }
}

/// Each construct may end anywhere, in a filter that is being typed as in a config.
#[test]
fn what_is_cut_off_has_a_result() {
    let written = SAME.iter().map(|(regex, ..)| regex).chain(REFUSED.iter().map(|(regex, ..)| regex));
    let more = ["(?(2", "a(?(<n", "(?(R", "(?(DEFINE", "(?(VERSION>=1", "(?(?C1", "(?(+1", "(?(é"];
    for regex in written.chain(&more) {
        let ends = regex.char_indices().map(|(at, _)| at).skip(1).chain([regex.len()]);
        for cut in ends.map(|end| &regex[..end]) {
            if let Err(error) = parse(cut) {
                let is_in_it = error.span.clone().is_none_or(|span| cut.get(span).is_some());
                assert!(is_in_it, "{error:?} of {cut:?}");
            }
        }
    }
}

#[test]
fn faults_point_into_what_was_written() {
    for (regex, meant) in [
        (r"\Qa\E\h(?1)b", "(?1)"),
        (r"żółw[\h]\X", r"\X"),
        (r"(?x) a b (c", "("),
        (r"\x{41}[[:foo:]]", "[:foo:]"),
        (r"a(?#x)\k<nobody>", r"\k<nobody>"),
        (r"[a\Qb\E\z]", r"\z"),
        (r"(a)\h\12", r"\12"),
    ] {
        let error = parse(regex).map(|_| regex);
        match (error, meant) {
            // Octal.
            (Ok(_), r"\12") => {}
            (error, meant) => assert_eq!(&regex[error.unwrap_err().span.unwrap()], meant, "{regex}"),
        }
    }
}

#[test]
fn groups_are_counted_and_named() {
    let pattern = parse(r"(a)(?:b)(?<n>c)(?n)(d)(?'m'e)").unwrap();
    assert_eq!(pattern.groups, 3);
    assert_eq!(pattern.names, [("n".to_owned(), 2), ("m".to_owned(), 3)]);
}

#[test]
fn a_line_must_contain_what_is_needed() {
    for (regex, need) in [
        ("firefox", &["firefox"][..]),
        (r":: (\S+) 443 ::", &[" 443 ::"]),
        (r"^(\s*\S+ ::) Alice ::", &[" :: alice ::"]),
        ("(?:fire|water)fox", &["fire", "water"]),
        (r"(ab)+c", &["abc"]),
        (r"a*bc?", &["b"]),
        (r"\S+ :: \d+", &[]),
        ("żółw", &[]),
        (r"I\Q.\E5", &["i.5"]),
        (r"a(?=b)c", &["ac"]),
    ] {
        assert_eq!(parse(regex).unwrap().need, need, "{regex}");
    }
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    let nested = |depth: usize| format!("{}a{}", "(?:".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(90)).unwrap().is_found("a").unwrap());
    assert!(parse(&nested(100_000)).unwrap_err().message.contains("nested too deeply"));
    let behind = format!("(?=a){}", nested(90));
    assert!(
        parse(&behind).is_ok_and(|pattern| pattern.prepare()) || parse(&behind).unwrap_err().help.is_some()
    );
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(SAME.iter().map(|(regex, ..)| *regex).collect::<Vec<_>>());
    let quantifier = prop::sample::select(vec!["", "", "", "*", "+?", "{2}", "++", "|"]);
    prop::collection::vec((piece, quantifier), 1..4).prop_map(|pieces| {
        let written: Vec<_> =
            pieces.into_iter().map(|(piece, quantifier)| format!("(?:{piece}){quantifier}")).collect();
        written.concat()
    })
}

proptest! {
    #[test]
    fn what_is_taken_compiles(regex in prop_oneof![pieces(), "[a-c(?:|)*+{}1,2\\\\\\[\\]^$.<>=!QEKRhvdwpLkgnP'&-]{0,16}"]) {
        if let Ok(pattern) = parse(&regex) {
            prop_assert!(pattern.prepare(), "{}", regex);
            for text in ["", "a\n", "żółw a1"] {
                let found = pattern.is_found(text);
                let first = pattern.first(text).map(|first| first.is_some());
                prop_assert!(found == first || found.is_err(), "{} in {:?}", regex, text);
            }
        }
    }

    #[test]
    fn any_text_has_a_result(regex in "\\PC{0,40}") {
        if let Err(error) = parse(&regex) {
            prop_assert!(error.help.is_some(), "{}: {:?}", regex, error);
            prop_assert!(error.span.is_none_or(|span| span.end <= regex.len() + 1));
        }
    }
}
