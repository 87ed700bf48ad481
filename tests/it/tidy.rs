//! The house rules, as code.
//!
//! Sources are scanned as text: comments, strings and character literals are blanked first, so that
//! nothing in them is taken for code. Every breach is gathered, so one run shows all of them.

use std::ops::Range;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 70;
const ARGUMENTS_MAX: usize = 5;
const MAIN_LINES_MAX: usize = 80;
const BANNED_NAMES: [&str; 8] =
    ["common", "helper", "helpers", "misc", "type", "types", "util", "utils"];

/// The modules of the crate in the order in which they may know each other: each row knows itself
/// and the rows above it.
const ORDER: [&[&str]; 7] = [
    &["state", "error", "clock", "protection"],
    &["disk"],
    &["encode", "collect"],
    &["commit", "store"],
    &["retention", "verify", "drift", "restore"],
    &["manager"],
    &["config", "server", "supervise", "cli", "validate", "fuzzing"],
];

/// Files that are functions of their arguments: they know no disk and no clock.
const PURE: [&str; 6] = [
    "src/collect/save_policy.rs",
    "src/drift/",
    "src/restore/plan",
    "src/retention/",
    "src/supervise/restarts",
    "src/supervise/schedule",
];

/// A source file, as it is and with everything blanked that is not code.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into(), code: blanked(text) }
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// The code before the module of unit tests.
    fn shipped(&self) -> &str {
        self.code.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
    }

    fn breach(&self, at: usize, what: impl AsRef<str>) -> String {
        format!("{}:{}: {}", self.path, self.line_of(at), what.as_ref())
    }
}

/// A function with a body: where it begins, where its arguments stand, where it ends.
struct Function {
    name: String,
    start: usize,
    arguments: Range<usize>,
    end: usize,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.push(Source::new(name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn all_sources() -> Vec<Source> {
    ["src", "tests", "benches", "examples"].into_iter().filter(exists).flat_map(sources).collect()
}

fn exists(folder: &&str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).is_dir()
}

fn check(rule: &str, sources: &[Source], breaches: impl Fn(&Source) -> Vec<String>) {
    assert!(!sources.is_empty(), "nothing to look at");
    let found: Vec<String> = sources.iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The text with comments, strings and character literals turned to blanks, line for line and byte
/// for byte.
fn blanked(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < code.len() {
        let end = at + not_code(&text.as_bytes()[at..], at > 0 && is_word(code[at - 1]));
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("whole characters are blanked")
}

/// Length of the comment or literal that `rest` begins with; 0 where it begins with code.
fn not_code(rest: &[u8], in_word: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest),
        [b'b', b'"', ..] if !in_word => 1 + quoted(&rest[1..]),
        [b'r', b'"' | b'#', ..] if !in_word => raw(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => raw(rest, 2),
        [b'\'', b'\\', _, tail @ ..] => {
            3 + tail.iter().position(|byte| *byte == b'\'').map_or(0, |end| end + 1)
        }
        [b'\'', tail @ ..] => character(tail),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes + 1;
    if rest.get(open - 1) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    let inside = rest[open..].windows(close.len()).position(|window| window == close);
    inside.map_or(rest.len(), |length| open + length + close.len())
}

/// Tells a character literal from a lifetime: one character, then a quote.
fn character(tail: &[u8]) -> usize {
    let length = match tail.first() {
        Some(0xF0..) => 4,
        Some(0xE0..) => 3,
        Some(0xC0..) => 2,
        _ => 1,
    };
    if tail.get(length) == Some(&b'\'') { length + 2 } else { 0 }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands as a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let after = bytes.get(at + word.len());
        (at == 0 || !is_word(bytes[at - 1])) && !after.is_some_and(|byte| is_word(*byte))
    })
}

fn leading_word(code: &str) -> &str {
    let end = code.bytes().position(|byte| !is_word(byte)).unwrap_or(code.len());
    &code[..end]
}

/// The end of the bracket that stands at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

fn functions(code: &str) -> Vec<Function> {
    words(code, "fn").filter_map(|start| function(code, start)).collect()
}

/// The function whose `fn` stands at `start`; `None` for a type or a method without body.
fn function(code: &str, start: usize) -> Option<Function> {
    let name = leading_word(code[start + 2..].trim_start());
    if name.is_empty() {
        return None;
    }
    let open = start + code[start..].find('(')?;
    let close = closing(code, open);
    let body = close + code[close..].find(['{', ';'])?;
    code[body..].starts_with('{').then(|| Function {
        name: name.into(),
        start,
        arguments: open + 1..close,
        end: closing(code, body),
    })
}

/// How many arguments a list names, the receiver apart.
fn count_arguments(list: &str) -> usize {
    let mut depth = 0_i32;
    let mut arguments = vec![String::new()];
    for letter in list.replace("->", "").chars() {
        match letter {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => arguments.push(String::new()),
            _ => {}
        }
        arguments.last_mut().expect("there is always one").push(letter);
    }
    let text = |argument: &String| argument.trim_matches([',', ' ', '\n']).to_owned();
    let named = arguments.iter().map(text).filter(|argument| !argument.is_empty());
    named.filter(|argument| words(argument.split(':').next().unwrap(), "self").count() == 0).count()
}

/// The modules of this crate that `code` names, with where.
fn modules_named(code: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for at in words(code, "crate").filter(|at| code[*at..].starts_with("crate::")) {
        let rest = at + "crate::".len();
        if !code[rest..].starts_with('{') {
            named.push((at, leading_word(&code[rest..]).to_owned()));
            continue;
        }
        let mut depth = 0_i32;
        let mut item = String::new();
        for letter in code[rest + 1..closing(code, rest)].chars().chain([',']) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    named.push((at, leading_word(item.trim_start()).to_owned()));
                    item.clear();
                }
                _ if depth == 0 && letter != '\n' => item.push(letter),
                _ => {}
            }
        }
    }
    named.retain(|(_, name)| !name.is_empty());
    named
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&module))
}

/// The module of the crate a source belongs to; `None` for the two roots.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(module, "lib" | "main")).then_some(module)
}

fn breaks_order(source: &Source) -> Vec<String> {
    let Some(module) = module_of(&source.path) else { return Vec::new() };
    let Some(own) = rank(module) else {
        return vec![source.breach(0, format!("`{module}` has no place in ORDER"))];
    };
    let forbidden = |(at, name): (usize, String)| match rank(&name) {
        None => Some(source.breach(at, format!("`crate::{name}`: name the module it comes from"))),
        Some(other) if other > own => {
            Some(source.breach(at, format!("`{module}` must not know `{name}`")))
        }
        Some(_) => None,
    };
    modules_named(source.shipped()).into_iter().filter_map(forbidden).collect()
}

fn breaks_size(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for Function { name, start, arguments, end } in functions(&source.code) {
        let lines = source.line_of(end) - source.line_of(start) + 1;
        let arguments = count_arguments(&source.code[arguments]);
        if lines > LINES_MAX {
            breaches.push(source.breach(start, format!("`{name}` has {lines} lines")));
        }
        if arguments > ARGUMENTS_MAX {
            breaches.push(source.breach(start, format!("`{name}` takes {arguments} arguments")));
        }
    }
    breaches
}

#[test]
fn functions_stay_on_the_screen() {
    let rule = format!("at most {LINES_MAX} lines and {ARGUMENTS_MAX} arguments to a function");
    check(&rule, &sources("src"), breaks_size);
}

#[test]
fn stages_know_only_what_lies_before_them() {
    check("dependencies point one way", &sources("src"), breaks_order);
}

#[test]
fn plans_know_no_disk_and_no_clock() {
    check("a plan is a function of its arguments", &sources("src"), |source| {
        let pure = PURE.iter().any(|path| source.path.starts_with(path));
        let seams = modules_named(source.shipped()).into_iter();
        let seams = seams.filter(|(_, name)| pure && (name == "disk" || name == "clock"));
        seams.map(|(at, name)| source.breach(at, format!("knows `{name}`"))).collect()
    });
}

#[test]
fn names_say_what_a_file_is_about() {
    check("no file is named after nothing in particular", &all_sources(), |source| {
        let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
        let banned = parts.filter(|part| BANNED_NAMES.contains(part));
        banned.map(|name| source.breach(0, format!("`{name}`"))).collect()
    });
}

#[test]
fn every_file_says_what_it_promises() {
    check("each file begins with its module doc", &all_sources(), |source| {
        let documented = source.text.starts_with("//! ");
        (!documented).then(|| source.breach(0, "no module doc")).into_iter().collect()
    });
}

#[test]
fn tests_do_not_wait_for_time_to_pass() {
    check("time in tests comes from the Clock seam", &sources("tests"), |source| {
        let sleeps = words(&source.code, "sleep");
        sleeps.map(|at| source.breach(at, "sleeps")).collect()
    });
}

#[test]
fn lints_are_expected_not_allowed() {
    check("`#[expect(lint, reason = …)]` takes the place of allow", &all_sources(), |source| {
        let allows =
            ["#[allow(", "#![allow("].into_iter().flat_map(|it| source.code.match_indices(it));
        allows.map(|(at, _)| source.breach(at, "an allow")).collect()
    });
}

#[test]
fn the_root_is_a_contents_page() {
    let roots = |source: &Source| source.path == "src/lib.rs";
    let lib: Vec<Source> = sources("src").into_iter().filter(roots).collect();
    check("lib.rs holds docs, lints, modules and re-exports", &lib, |source| {
        let items =
            ["fn", "struct", "enum", "trait", "impl", "const", "static", "type", "macro_rules"];
        let items =
            items.into_iter().flat_map(|item| words(&source.code, item).map(move |at| (at, item)));
        items.map(|(at, item)| source.breach(at, format!("holds a `{item}`"))).collect()
    });
}

#[test]
fn main_is_short() {
    let main: Vec<Source> =
        sources("src").into_iter().filter(|source| source.path == "src/main.rs").collect();
    check("main.rs calls, it does not do", &main, |source| {
        let lines = source.text.lines().count();
        let long = lines >= MAIN_LINES_MAX;
        long.then(|| source.breach(0, format!("{lines} lines"))).into_iter().collect()
    });
}

#[test]
fn the_scan_sees_code_and_nothing_else() {
    let text = "// fn a() {\nlet x = \"fn \\\" {\"; let r = r#\"}\"}\"#; '{' '\\'' /* { /* */ } */ &'a str";
    let code = blanked(text);
    assert_eq!(code.len(), text.len());
    assert!(!code.contains(['{', '}', '"']) && code.contains("&'a str"), "{code}");
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>().join(" "),
        "let x = ; let r = ; &'a str"
    );
}

#[test]
fn the_rules_find_what_breaks_them() {
    let body = "    work();\n".repeat(LINES_MAX);
    let long = format!("fn long() {{\n{body}}}\nfn short(&self, a: Map<u8, u8>) {{}}\n");
    assert_eq!(breaks_size(&Source::new("src/x.rs", &long)), ["src/x.rs:1: `long` has 72 lines"]);

    let many = "\nfn many(&self, a: A, b: B, c: C, d: D, e: E, f: F) -> X {\n}\n";
    assert_eq!(
        breaks_size(&Source::new("src/x.rs", many)),
        ["src/x.rs:2: `many` takes 6 arguments"]
    );
    assert_eq!(count_arguments("self: Arc<Self>, a: &dyn Fn(u8, u8) -> Map<u8, u8>,\n"), 1);

    let early =
        "use crate::{state::{Seq, Kind}, manager::Manager};\nuse crate::cli;\nuse crate::Kind;";
    let breaches = breaks_order(&Source::new("src/commit/mod.rs", early));
    assert_eq!(
        breaches,
        [
            "src/commit/mod.rs:1: `commit` must not know `manager`",
            "src/commit/mod.rs:2: `commit` must not know `cli`",
            "src/commit/mod.rs:3: `crate::Kind`: name the module it comes from",
        ]
    );
    let in_tests = "#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    assert!(breaks_order(&Source::new("src/commit/mod.rs", in_tests)).is_empty());
    assert_eq!(
        breaks_order(&Source::new("src/odd.rs", "")),
        ["src/odd.rs:1: `odd` has no place in ORDER"]
    );
}

/// The promises of `docs/guarantees.md`: their headings, each with what is said of it.
fn promises() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let sections = text.split("\n## ").skip(1);
    let numbered = sections.filter(|section| section.starts_with(|it: char| it.is_ascii_digit()));
    numbered.map(|section| section.split_once('\n').unwrap()).map(owned).collect()
}

fn owned((heading, said): (&str, &str)) -> (String, String) {
    (heading.to_owned(), said.to_owned())
}

/// Which promises each scenario file proves, as it says itself.
fn scenarios() -> Vec<(String, Vec<String>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("validate");
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|it| it == "toml"));
    let mut found: Vec<(String, Vec<String>)> = files
        .map(|path| {
            let text: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let proves = text["promise"].as_array().unwrap();
            let proves = proves.iter().map(|one| one.as_str().unwrap().to_owned());
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), proves.collect())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_promise_has_a_scenario_and_the_guarantees_name_it() {
    let (promises, scenarios) = (promises(), scenarios());
    assert_eq!(promises.len(), 10, "{promises:#?}");
    for (heading, said) in &promises {
        let proving: Vec<&str> = scenarios
            .iter()
            .filter(|(_, proves)| proves.contains(heading))
            .map(|(name, _)| name.as_str())
            .collect();
        assert!(!proving.is_empty(), "no scenario in validate/ proves \"{heading}\"");
        let named = |name: &&str| said.contains(&format!("`{name}`"));
        let unnamed: Vec<&&str> = proving.iter().filter(|name| !named(name)).collect();
        assert!(unnamed.is_empty(), "\"{heading}\" does not name {unnamed:?}");
    }
}

#[test]
fn every_scenario_is_part_of_the_program() {
    let shipped = stateward::validate::Scenario::shipped().unwrap();
    let mut shipped: Vec<&str> = shipped.iter().map(|one| one.name.as_str()).collect();
    shipped.sort_unstable();
    let files = scenarios();
    let files: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(shipped, files, "src/validate/shipped.rs lists the files of validate/");
}
