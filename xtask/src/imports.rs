//! Which file of a crate imports which: that no files lie in a circle, and no rooms (folders and files right below
//! `src`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use testbed::shell;

/// The crates that are looked at, and the rooms among which no circle may be; none: all.
const CRATES: [(&str, &[&str]); 2] = [
    ("xdp-common", &[]),
    (
        "userspace",
        &["daemon", "datapath", "server", "ratelimit", "zone", "check", "dnssec", "compile"],
    ),
];

/// Fails if files or rooms lie in a circle.
pub fn check() -> Result<()> {
    let mut circles = Vec::new();
    for (name, rooms) in CRATES {
        let modules = Modules::read(&shell::root().join(name).join("src"))?;
        let is_of_rooms = |circle: &Vec<String>| {
            rooms.is_empty() || circle.iter().any(|module| rooms.contains(&room_of(module)))
        };
        let found = modules.circles().into_iter().chain(modules.room_circles());
        let found = found.filter(is_of_rooms);
        circles.extend(found.map(|circle| format!("{name}: {}", circle.join(", "))));
    }
    if !circles.is_empty() {
        bail!("imports go in a circle:\n  {}", circles.join("\n  "));
    }
    Ok(())
}

/// The first part of a module's path.
fn room_of(module: &str) -> &str {
    module.split_once("::").map_or(module, |(room, _)| room)
}

/// A path from the root of the crate.
type ModulePath = Vec<String>;

/// An edge from each to those that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The modules of a crate that have a file.
struct Modules {
    /// The paths that each imports, with `crate` left out.
    imports: BTreeMap<ModulePath, Vec<ModulePath>>,
    /// What a module makes public that is another's.
    exports: BTreeMap<ModulePath, ModulePath>,
}

impl Modules {
    fn read(source: &Path) -> Result<Modules> {
        let mut files = Vec::new();
        list(source, &mut files)?;
        let mut texts = BTreeMap::new();
        for file in files {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let module = file.strip_prefix(source)?.with_extension("");
            let mut module: ModulePath =
                module.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&&**last)) {
                module.pop();
            }
            texts.insert(module, code(&text));
        }
        Ok(Modules::of(&texts))
    }

    fn of(texts: &BTreeMap<ModulePath, String>) -> Modules {
        let mut modules = Modules { imports: BTreeMap::new(), exports: BTreeMap::new() };
        for (module, text) in texts {
            let mut imports = Vec::new();
            for (is_public, path) in used(text) {
                let Some(path) = absolute(&path, module, texts) else { continue };
                if is_public && let Some(name) = path.last() {
                    let mut exported = module.clone();
                    exported.push(name.clone());
                    modules.exports.insert(exported, path.clone());
                }
                imports.push(path);
            }
            modules.imports.insert(module.clone(), imports);
        }
        modules
    }

    /// The module in whose file it is that a path names.
    fn home(&self, path: &[String]) -> ModulePath {
        let mut path = path.to_vec();
        // What one module makes public may be what another one does: as many times as there are modules at most.
        for _ in 0..self.imports.len() {
            let exported =
                (1..=path.len()).find_map(|len| Some((len, self.exports.get(&path[..len])?)));
            let Some((len, target)) = exported else { break };
            path = [&target[..], &path[len..]].concat();
        }
        let known = (0..=path.len()).rev().find(|len| self.imports.contains_key(&path[..*len]));
        path.truncate(known.unwrap_or(0));
        path
    }

    fn graph(&self, name: impl Fn(&[String]) -> String) -> Imports {
        let mut graph = Imports::new();
        for (module, imports) in &self.imports {
            let from = name(module);
            let to: BTreeSet<String> = imports
                .iter()
                .map(|path| name(&self.home(path)))
                .filter(|to| *to != from)
                .collect();
            graph.entry(from).or_default().extend(to);
        }
        graph
    }

    /// Files that import each other, straight or by others.
    fn circles(&self) -> Vec<Vec<String>> {
        circles(&self.graph(|module| module.join("::")))
    }

    /// The same for rooms.
    fn room_circles(&self) -> Vec<Vec<String>> {
        circles(&self.graph(|module| module.first().cloned().unwrap_or_default()))
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing");
        if is_test {
            continue;
        } else if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A file without its comments, and without its tests, which come last.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    // Who may see an item is no import.
    let code = lines.collect::<Vec<_>>().join("\n").replace("pub(in crate::", "pub(in ");
    let mut tests = code.match_indices("#[cfg(test)]\n").map(|(at, _)| at);
    let is_module = |at: &usize| {
        let item = code[*at..].lines().nth(1).unwrap_or_default();
        item.contains("mod ") && item.ends_with('{')
    };
    code[..tests.find(is_module).unwrap_or(code.len())].to_owned()
}

/// The paths that a file names, and whether it makes them public: those of `use`, and those that start with `crate`.
fn used(text: &str) -> Vec<(bool, ModulePath)> {
    let mut paths = Vec::new();
    for line_start in text.match_indices("use ").map(|(at, _)| at) {
        let before = text[..line_start].rsplit('\n').next().unwrap_or_default().trim();
        let is_public = before.starts_with("pub");
        if !(before.is_empty() || is_public) {
            continue;
        }
        let statement = text[line_start + 4..].split(';').next().unwrap_or_default();
        let statement: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        spread(&statement, &[], &mut |path| paths.push((is_public, path)));
    }
    for (at, _) in text.match_indices("crate::") {
        let path =
            text[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
        let path = path.unwrap_or_default();
        // A brace follows, as `use` has it, whose paths are found above.
        if path.ends_with("::") {
            continue;
        }
        paths.push((false, path.split("::").map(str::to_owned).collect()));
    }
    paths
}

/// Takes a tree of imports apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn spread(tree: &str, before: &[String], found: &mut impl FnMut(ModulePath)) {
    let tree = tree.trim();
    match tree.split_once('{') {
        None => {
            let name = tree.split(" as ").next().unwrap_or_default().trim();
            if name.is_empty() {
                return;
            }
            let parts = name.split("::").filter(|part| !part.is_empty() && *part != "*");
            let mut path = before.to_vec();
            path.extend(parts.map(str::to_owned));
            // `a::{self}` is `a`.
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            if !path.is_empty() {
                found(path);
            }
        }
        Some((head, rest)) => {
            let mut path = before.to_vec();
            path.extend(
                head.split("::").map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned),
            );
            let (mut depth, mut start) = (0, 0);
            for (at, letter) in rest.char_indices() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => return spread(&rest[start..at], &path, found),
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        spread(&rest[start..at], &path, found);
                        start = at + 1;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A path from the root of the crate; `None` if it leads out of it.
fn absolute(
    path: &[String],
    module: &[String],
    texts: &BTreeMap<ModulePath, String>,
) -> Option<ModulePath> {
    let (first, rest) = path.split_first()?;
    let (base, rest) = match first.as_str() {
        "crate" => (&[][..], rest),
        "self" => (module, rest),
        "super" => {
            let above = rest.iter().take_while(|part| *part == "super").count();
            (&module[..module.len().checked_sub(1 + above)?], &rest[above..])
        }
        // A module right below, or another crate.
        name => {
            let below = [module, &[name.to_owned()]].concat();
            texts.contains_key(&below).then_some((module, path))?
        }
    };
    Some([base, rest].concat())
}

/// The sets of more than one of which each leads to each.
fn circles(graph: &Imports) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(next) = left.pop() {
            for to in graph.get(next).into_iter().flatten() {
                if seen.insert(to) {
                    left.push(to);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|from| (from, reached(from))).collect();
    let mut circles = BTreeSet::new();
    for (from, to) in &all {
        let circle: Vec<String> = to
            .iter()
            .filter(|other| all.get(*other).is_some_and(|back| back.contains(from)))
            .map(|other| (*other).clone())
            .collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        let path =
            |name: &str| name.split("::").filter(|p| !p.is_empty()).map(str::to_owned).collect();
        Modules::of(&files.iter().map(|(name, text)| (path(name), code(text))).collect())
    }

    #[test]
    fn a_circle_is_found_whatever_way_it_is_written() {
        for back in [
            "use crate::a::One;",
            "use super::a::{One};",
            "use crate::{\n    b::c::Two,\n    a::{self, One as Other},\n};",
            "fn f() { crate::a::one() }",
            "pub use crate::a::*;",
            "use crate::One;",
        ] {
            let modules =
                modules(&[("", "pub use a::One;"), ("a", "use crate::b::Two;"), ("b", back)]);
            assert_eq!(modules.circles(), [["a", "b"]], "{back}");
            assert_eq!(modules.room_circles(), [["a", "b"]], "{back}");
        }
    }

    #[test]
    fn what_is_no_circle_is_none() {
        for back in [
            "use std::a::One;",
            "// use crate::a::One;",
            "#[cfg(test)]\nmod tests {\n    use crate::a::One;\n}",
            "use crate::c::Three;",
        ] {
            let modules = modules(&[("a", "use crate::b::Two;"), ("b", back), ("c", "")]);
            assert_eq!(modules.circles(), Vec::<Vec<String>>::new(), "{back}");
        }
        // What a room makes public is its files', not the room's.
        let room = modules(&[
            ("r", "pub mod a;\npub mod b;\npub use a::One;"),
            ("r::a", ""),
            ("r::b", "use super::One;"),
        ]);
        assert_eq!(room.circles(), Vec::<Vec<String>>::new());
        // A brace names what is in it, not what stands before it.
        let room = modules(&[
            ("r", "pub mod a;\npub mod b;\nuse crate::r::b::Two;"),
            ("r::a", ""),
            ("r::b", "use crate::r::{a};"),
        ]);
        assert_eq!(room.circles(), Vec::<Vec<String>>::new());
    }

    #[test]
    fn rooms_go_in_a_circle_where_no_files_do() {
        let modules = modules(&[
            ("a::one", "use crate::b::Two;"),
            ("a::two", ""),
            ("b", "use crate::a::two::Three;"),
            ("a", ""),
        ]);
        assert_eq!(modules.circles(), Vec::<Vec<String>>::new());
        assert_eq!(modules.room_circles(), [["a", "b"]]);
    }

    #[test]
    fn no_files_of_this_project_lie_in_a_circle() {
        check().unwrap();
    }
}
