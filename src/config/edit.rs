//! Changes to the user's file: its comments, its order and what it does not change stay as they are.

use super::{Config, MAX_BYTES, VARIABLE, usual_path};
use crate::error::{Error, Kind, Result};
use crate::model::location::{Location, is_name};
use crate::model::text;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, InlineTable, Item, TableLike, Value};

/// The user's file, read to be changed.
#[derive(Debug)]
pub struct Edit {
    path: PathBuf,
    /// What was read; `None` where there was no file.
    read: Option<String>,
    document: DocumentMut,
}

impl Edit {
    /// The file that `given` names, else the one that is read without it. It need not be there.
    ///
    /// [`Kind::Invalid`] if there is to be none, or if it is no TOML.
    pub fn open(given: Option<&Path>) -> Result<Self> {
        let path = match (given, std::env::var_os(VARIABLE)) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) if path.is_empty() => {
                return Err(Error::invalid(format!("there is no configuration: {VARIABLE} is empty"))
                    .with_hint("give a file with --config"));
            }
            (None, Some(path)) => PathBuf::from(path),
            (None, None) => usual_path().ok_or_else(|| {
                Error::invalid("there is no folder for the configuration").with_hint("give a file with --config")
            })?,
        };
        // A link stays one: what it leads to is changed.
        let path = path.canonicalize().unwrap_or(path);
        let read = read(&path)?;
        // What is wrong in it is told in the words that reading it has for that.
        Config::parse(read.as_deref().unwrap_or_default(), &path)?;
        let document = read.as_deref().unwrap_or_default().parse::<DocumentMut>();
        let document = document.map_err(|_| Error::invalid(format!("{} is no TOML", path.display())))?;
        Ok(Self { path, read, document })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets `name` stand for `location`. [`Kind::Invalid`] if that is no name, or if it is taken and not to be replaced.
    pub fn add(&mut self, name: &str, location: &Location, read_only: bool, replace: bool) -> Result<()> {
        if !is_name(name) {
            return Err(Error::invalid(format!("not a name: {}", text::safe(name)))
                .with_hint("a name is letters, digits, '.', '_' and '-'"));
        }
        let locations = self.locations()?;
        if locations.contains_key(name) && !replace {
            return Err(
                Error::invalid(format!("@{name} is there already")).with_hint("--replace puts this in its place")
            );
        }
        let line = location.reveal();
        let value = if read_only {
            let mut table = InlineTable::new();
            table.insert("location", line.into());
            table.insert("read_only", true.into());
            Value::from(table)
        } else {
            Value::from(line)
        };
        match locations.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                // A comment behind it stays.
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            None => drop(locations.insert(name, Item::Value(value))),
        }
        Ok(())
    }

    /// Takes a name away. [`Kind::NotFound`] if there is none such.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        match self.locations()?.remove(name) {
            Some(_) => Ok(()),
            None => Err(Error::not_found(format!("no location is called @{}", text::safe(name)))
                .with_hint("`cachedeck locations ls` shows which there are")),
        }
    }

    fn locations(&mut self) -> Result<&mut dyn TableLike> {
        let item = self.document.entry("locations").or_insert_with(toml_edit::table);
        let path = &self.path;
        item.as_table_like_mut().ok_or_else(|| Error::invalid(format!("{}: locations is no table", path.display())))
    }

    /// Writes the file, at once or not at all, readable by its owner only if there are secrets in it. What it then says.
    ///
    /// [`Kind::Stale`] if somebody else changed it meanwhile; [`Kind::Denied`] and others if it can't be written.
    pub fn save(self) -> Result<Config> {
        let Self { path, read: before, document } = self;
        let text = document.to_string();
        let config = Config::parse(&text, &path)?;
        let failed = |error| Error::io(format!("cannot write {}", path.display()), error);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        make_folder(folder).map_err(failed)?;
        // Made anew under a name of its own, for the owner only.
        let mut file = tempfile::Builder::new().prefix(".cachedeck-").tempfile_in(folder).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        let secret = config.places.iter().any(|place| place.location.has_secrets());
        if let Ok(metadata) = fs::metadata(&path)
            && !secret
        {
            file.as_file().set_permissions(metadata.permissions()).map_err(failed)?;
        }
        file.as_file().sync_all().map_err(failed)?;
        if read(&path)? != before {
            return Err(Error::new(Kind::Stale, format!("{} changed meanwhile", path.display())).with_hint("try again"));
        }
        match before {
            Some(_) => file.persist(&path).map_err(|error| failed(error.error))?,
            None => file.persist_noclobber(&path).map_err(|error| failed(error.error))?,
        };
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::invalid(format!("{} is too large for a config", path.display())));
    }
    Ok(Some(text))
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(before: &str, change: impl FnOnce(&mut Edit) -> Result<()>) -> Result<String> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, before).unwrap();
        let mut edit = Edit::open(Some(&path))?;
        change(&mut edit)?;
        edit.save()?;
        Ok(fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn what_is_not_changed_stays_as_it_is() {
        let before = "# mine\nmouse = false # no\n\n[locations]\n# ours\nci = 'ghcr.io/a/b'   # that one\n\n[keys.everywhere]\nrefresh = [\"r\"]\n";
        let place: Location = "type=s3,bucket=b,region=r".parse().unwrap();
        let after = edited(before, |edit| edit.add("new", &place, true, false)).unwrap();
        let line = "new = { location = \"type=s3,bucket=b,region=r\", read_only = true }\n";
        assert_eq!(after, before.replace("# that one\n", &format!("# that one\n{line}")));
        assert_eq!(edited(&after, |edit| edit.remove("new")).unwrap(), before);
        let replaced = edited(before, |edit| edit.add("ci", &place, false, true)).unwrap();
        assert_eq!(replaced, before.replace("'ghcr.io/a/b'", "\"type=s3,bucket=b,region=r\""));
        assert_eq!(edited(before, |edit| edit.add("ci", &place, false, false)).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(edited(before, |edit| edit.remove("zoo")).unwrap_err().kind(), Kind::NotFound);
        for name in ["", "a b", "../x", "@a"] {
            assert_eq!(edited(before, |edit| edit.add(name, &place, false, false)).unwrap_err().kind(), Kind::Invalid);
        }
        let inline = edited("locations = { a = './x' }\n", |edit| edit.add("b", &place, true, false)).unwrap();
        assert!(inline.contains("a = './x'") && inline.contains("b = { location ="), "{inline}");
        assert!(edited("nonsense = [", |edit| edit.remove("a")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_secrets_is_private() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::TempDir::new().unwrap();
        let (path, link) = (folder.path().join("deep/c.toml"), folder.path().join("link.toml"));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let add = |path: &Path, name: &str, line: &str| {
            let mut edit = Edit::open(Some(path)).unwrap();
            edit.add(name, &line.parse().unwrap(), false, false).unwrap();
            edit.save().unwrap()
        };
        assert_eq!(add(&path, "a", "ghcr.io/a/b").places.len(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&path, &link).unwrap();
        add(&link, "b", "ghcr.io/a/c");
        assert_eq!(mode(), 0o644);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "a link to the file stays one");
        add(&link, "s", "type=s3,bucket=b,secret_access_key=x");
        assert_eq!(mode(), 0o600);
        assert_eq!(Config::load_file(&path).unwrap().places.len(), 3);
    }

    #[test]
    fn somebody_else_s_change_is_not_lost() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.toml");
        let mut edit = Edit::open(Some(&path)).unwrap();
        edit.add("a", &Location::local_dir("/x"), false, false).unwrap();
        fs::write(&path, "mouse = false\n").unwrap();
        assert_eq!(edit.save().unwrap_err().kind(), Kind::Stale);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mouse = false\n");
    }
}
