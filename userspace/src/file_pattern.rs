//! Files that a configuration names by a pattern: `zones.d/*.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// The files that a path names, sorted by name. The last part of the path may have `*` and `?`; of a folder those are meant
/// that fit `in_folder`, or none.
pub fn matching(path: &Path, in_folder: Option<&str>) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let (folder, pattern) = match (path.is_dir(), in_folder, name) {
        (true, Some(pattern), _) => (path, pattern),
        (true, None, _) => return Vec::new(),
        (false, _, Some(name)) if is_pattern(name) => {
            (path.parent().unwrap_or(Path::new("")), name)
        }
        _ => return path.exists().then(|| path.to_owned()).into_iter().collect(),
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |name: &str| matches(pattern.as_bytes(), name.as_bytes());
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(fits))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

/// Whether the last part of a path stands for any number of files.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a name fits a pattern: `*` is any octets, `?` any one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern_at, mut name_at) = (0, 0);
    // Where the last `*` stands, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while name_at < name.len() {
        match pattern.get(pattern_at) {
            Some(b'*') => {
                star = Some((pattern_at, name_at));
                pattern_at += 1;
            }
            Some(&octet) if octet == b'?' || octet == name[name_at] => {
                (pattern_at, name_at) = (pattern_at + 1, name_at + 1);
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (pattern_at, name_at) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[pattern_at..].iter().all(|octet| *octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, fits) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.old", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("?", "", false),
            ("?x*", "1x", true),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
