use super::*;

fn parse(source: &str) -> Result<Config> {
    Config::parse(source, Path::new("c.toml"))
}

fn without_file(config: Config) -> String {
    format!("{:?}", Config { file: None, ..config })
}

#[test]
fn the_example_says_what_holds_without_a_file() {
    assert_eq!(without_file(parse(EXAMPLE).unwrap()), without_file(Config::default()));
    assert_eq!(without_file(parse("").unwrap()), without_file(Config::default()));
}

#[test]
fn the_examples_in_the_example_are_right() {
    let shown = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
    let source: Vec<_> = EXAMPLE.lines().map(|line| shown(line).unwrap_or_else(|| line.to_owned())).collect();
    let config = parse(&source.join("\n")).unwrap();
    assert_eq!(config.warnings(), [""; 0]);
    let place = |name: &str, location: &str, read_only| Place {
        name: Some(name.into()),
        location: Location::parse(location).unwrap(),
        read_only,
        pruning: None,
    };
    assert!(config.places[2].pruning.as_ref().is_some_and(|pruning| pruning.policy.keep_last == Some(3)));
    assert_eq!(
        config.places[..2],
        [
            place("here", "type=local,src=./.buildx-cache", false),
            place("ci", "type=s3,bucket=ci,region=eu-west-1,name=main", true)
        ]
    );
    assert_eq!(config.keys["everywhere"]["refresh"], ["r", "ctrl+r"]);
}

#[test]
fn locations_are_tables_or_words_in_the_order_of_the_file() {
    let config = parse(
        "size_style = 'si'\n[locations.zoo]\nlocation = 'ghcr.io/a/b'\n[locations]\napp = '/c'\nfar = 'type=gha,socpe=x'",
    )
    .unwrap();
    let names: Vec<_> = config.places.iter().filter_map(|place| place.name.as_deref()).collect();
    assert_eq!(names, ["zoo", "app", "far"]);
    assert_eq!(config.size_style, SizeStyle::Si);
    assert_eq!(config.warnings(), ["locations.far: type=gha does not know the key socpe, did you mean scope?"]);
}

#[test]
fn slips_are_named_with_their_line() {
    for (source, what, hint) in [
        ("\ntehme = 'x'", "c.toml:2: unknown key tehme", Some("did you mean theme?")),
        (
            "colour = 1",
            "c.toml:1: unknown key colour",
            Some("known here: theme, ascii, mouse, size_style, builders, keys, locations"),
        ),
        ("size_style = 'ice'", "c.toml:1: unknown value ice", Some("did you mean iec?")),
        (
            "[locations]\na = '/x'\nb = { location = '/y', readonly = true }",
            "c.toml:3: unknown key readonly",
            Some("did you mean read_only?"),
        ),
        ("[locations.a]\nread_only = true", "c.toml:1: missing field `location`", None),
        ("mouse = 'no'", "c.toml:1: invalid type: string \"..\", expected a boolean", None),
        (
            "\n[locations]\na = 'type=local,src'",
            "c.toml:3: locations.a: bad location: field 2 has no '='",
            Some("quote a value with a comma in it, key and all: \"key=a,b\""),
        ),
        ("[locations]\na = 'x,y'", "c.toml:2: locations.a: a name stands for one location, not for several", None),
        ("[locations]\na = '@b'", "c.toml:2: locations.a: a name cannot stand for another name", None),
    ] {
        let error = parse(source).unwrap_err();
        assert_eq!((error.what(), error.kind()), (what, Kind::Invalid), "{source}");
        assert_eq!(error.hint(), hint, "{source}");
    }
    for source in
        ["theme", "theme = 'a", "theme = 'a'\ntheme = 'b'", "[keys]\nfiles = 'x'", "[locations]\n'a b' = '/x'"]
    {
        assert!(parse(source).unwrap_err().what().starts_with("c.toml:"), "{source}");
    }
}

#[test]
fn a_place_says_how_it_is_pruned() {
    let source = "[locations.ci]\nlocation = './c'\n[locations.ci.policy]\nkeep_last = 3\nkeep_within = '14d'\n\
                  keep_tag = 'main'\nmax_size = '80%'\ngroup_by = 'tag'\ngrace = '2h'\nmax_delete = 9";
    let config = parse(source).unwrap();
    let pruning = config.places("type=local,src=c").unwrap()[0].pruning.clone().unwrap();
    assert_eq!(Some(&pruning), config.places[0].pruning.as_ref(), "however it is spelt");
    let policy = &pruning.policy;
    assert_eq!((policy.keep_last, &policy.keep_tags[..]), (Some(3), &["main".to_owned()][..]));
    assert_eq!(policy.keep_within.unwrap().as_hours(), 14 * 24);
    assert_eq!((policy.group_by.unwrap().name(), pruning.grace.unwrap().as_hours()), ("name", 2));
    assert_eq!((policy.max_size, pruning.max_delete), (Some(crate::model::units::Limit::Percent(80.0)), Some(9)));
    for (line, what, hint) in [
        ("keep_lsat = 3", "unknown key keep_lsat", Some("did you mean keep_last?")),
        ("keep_within = '3'", "policy.keep_within: bad duration 3: it needs a unit", None),
        ("group_by = 'scpoe'", "policy.group_by: no grouping scpoe", Some("groupings: name, tag, scope, ref, none")),
        ("max_size = '200%'", "policy.max_size: bad share 200%: not between 0% and 100%", None),
    ] {
        let error = parse(&format!("[locations.ci]\nlocation = './c'\npolicy.{line}")).unwrap_err();
        assert!(error.what().ends_with(what), "{error}");
        assert!(hint.is_none_or(|hint| error.hint() == Some(hint)), "{:?}", error.hint());
    }
}

#[test]
fn secrets_are_in_no_error() {
    for source in [
        "[locations]\na = { location = 'type=s3,token=CANARY', read_only = 'CANARY' }",
        "[locations]\na = { location = ['secret_access_key=CANARY'] }",
        "[locations]\na = 'secret_access_key=CANARY'",
        "[locations]\na = 'type=s3,secret_access_key=x,CANARY'",
        "[locations]\na = 'type=s3,secret_access_key=CANARY",
    ] {
        let error = parse(source).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("CANARY"), "{source}");
    }
}

#[test]
fn names_stand_for_their_places() {
    let config = parse("[locations]\nci = { location = './c', read_only = true }\nown = '/o'").unwrap();
    assert_eq!(config.places("@ci").unwrap(), [config.places[0].clone()]);
    let spelt = config.places("type=local,dest=c/,tag=x").unwrap();
    assert!(spelt[0].read_only && spelt[0].name.is_none());
    assert!(!config.places("/o").unwrap()[0].read_only);
    assert_eq!(config.places("a,b").unwrap().len(), 2);

    let error = config.places("@c1").unwrap_err();
    assert_eq!((error.what(), error.hint()), ("no location is called @c1", Some("did you mean @ci?")));
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(config.places("@production").unwrap_err().hint(), Some("names are @ci, @own"));
}

#[test]
fn only_a_file_that_is_asked_for_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let load = |variable: Option<&Path>| Config::load_from(variable.map(Into::into), || Some(path.clone()));
    assert!(load(None).unwrap().file.is_none());
    let error = load(Some(&path)).unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::NotFound, Some("CACHEDECK_CONFIG names this file")));

    std::fs::write(&path, "ascii = true").unwrap();
    assert!(load(None).unwrap().ascii);
    assert_eq!(load(Some(&path)).unwrap().file, Some(path.clone()));
    assert!(!load(Some(Path::new(""))).unwrap().ascii, "empty stands for no file at all");
    assert!(load(Some(folder.path())).is_err());
}

#[test]
fn a_folder_is_found_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(Config::default().places(path).unwrap()[0].location, Location::local_dir(path));
}

#[cfg(unix)]
#[test]
fn secrets_are_kept_from_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let read = |source: &str, mode| {
        std::fs::write(&path, source).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::read(File::open(&path).unwrap(), &path)
    };
    let secret = "[locations]\na = 'type=s3,bucket=b,access_key_id=x,secret_access_key=y'";
    assert!(read(secret, 0o600).is_ok());
    assert!(read("[locations]\na = 'type=s3,bucket=b'", 0o644).is_ok());
    for (source, mode) in
        [(secret, 0o644), (secret, 0o640), ("[locations]\na='type=s3,endpoint_url=https://u:p@h'", 0o604)]
    {
        let error = read(source, mode).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{mode:o}");
        assert!(error.hint().is_some_and(|hint| hint.starts_with("chmod 600 /")));
    }
    assert_eq!(read(&"#".repeat(2 << 20), 0o600).unwrap_err().kind(), Kind::Invalid);
}
