//! `help TOPIC`: what is true of all commands and would be too long for their help.

use super::failure::{Exit, Outcome};
use super::session::{Needs, Session};
use crate::config;
use crate::error::Error;
use crate::model::text;

/// What showing a topic needs.
pub(super) const NEEDS: Needs = Needs { format: false, config: false };

/// Name and text of each topic.
pub(super) const TOPICS: [(&str, &str); 6] = [
    ("exit-codes", EXIT_CODES),
    ("environment", ENVIRONMENT),
    ("places", LOCATIONS),
    ("filters", FILTERS),
    ("json", JSON),
    ("configuration", config::EXAMPLE),
];

/// Exit codes, for the manual too.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed
    2  the command line or what it names makes no sense, or nobody agreed to a change
    3  partly done: some of several locations or blobs failed, and that was told
    4  credentials are missing, access was denied, or the location is read-only
    5  not found: a folder, tag, digest or file
    6  damage: verify found some, or what was asked for can't be read
    7  a threshold was passed (--fail-over), or a limit keeps a plan from being done
    8  locked by somebody else, changed since the plan was made, or applied before
    9  nothing to do, with --error-on-noop
   10  this kind of location can't do that
  130  interrupted; what was begun can be finished or undone";

/// Variables, for the manual too.
pub(super) const ENVIRONMENT: &str = "\
Variables:
  CACHEDECK_CONFIG  the configuration file; empty for none
  CACHEDECK_CACHE_DIR, CACHEDECK_DATA_DIR
                    folders for documents that were read, so that those that did not change are
                    not read again, and for versions and step names seen; empty for nowhere
  CACHEDECK_READ_ONLY
                    nothing is changed anywhere if this is set to anything but 0
  CACHEDECK_NOW     the time that ages are counted from, for output that stays the same; what is
                    hidden is due by it too
  COLUMNS           the width of the terminal
  NO_COLOR          no colours if this is set to anything
  TMPDIR            where demo unpacks, and where .buildx-cache is looked for too
  DOCKER_CONFIG     the folder with Docker's credentials for registries; ~/.docker otherwise
  GITHUB_STEP_SUMMARY
                    where build and warm append their report, for the summary of a job
For places that are not on this machine:
  CACHEDECK_TIMEOUT                how long one may say nothing: 10s, 2m; 30s otherwise
  CACHEDECK_TOKEN_HOSTS            hosts that may get a registry's credentials when it gets its
                                   tokens there; commas between them
  CACHEDECK_PLAINTEXT_CREDENTIALS  1 lets credentials go to other machines over plain HTTP";

const LOCATIONS: &str = "\
A location is what --cache-from and --cache-to of docker buildx take:
  type=local,src=DIR             a folder that --cache-to type=local,dest=DIR wrote
  type=local,src=DIR,tag=T       one version of it, by tag
  type=local,src=DIR,digest=D    by digest, which finds versions that have no tag any more
  type=registry,ref=HOST/NAME:T  all tags of a repository; @sha256:.. means a version without one.
                                 registry.insecure=true is plain HTTP
  HOST/NAME:T                    the same
  type=inline,ref=HOST/NAME:T    the cache inside an image
  type=gha,repo=OWNER/NAME       a GitHub repository's caches; scope=S means one of them. The token is
                                 ghtoken=.., GH_TOKEN, GITHUB_TOKEN or gh's own login; api_url=URL for
                                 GitHub Enterprise. Contents can be read in a workflow run only
Shorter:
  DIR                            a folder; called like a command it needs its ./
  DIR,tag=T  DIR,digest=D        one version of it
  @NAME                          from [locations] in the configuration
Names: `cachedeck locations add NAME LOCATION`, or import from bake files and workflows with
`cachedeck locations import`; `cachedeck locations test` sees whether all can be reached.
Several locations are read at once. One that fails is told and leaves the others (exit code 3).
Secrets do not belong on the command line: set the variables that buildx reads, or keep them in
the configuration, which then only you may read.
Without any location, those in the configuration are meant, and .buildx-cache and .buildcache in
the current folder and among the temporary files.";

const FILTERS: &str = "\
--filter takes terms between blanks, all of which must hold:
  size>1GiB age>30d   comparisons: = != > < >= <=
  tag~=^rel           a regular expression
  word                what the row shows contains it
  re:REGEX            what the row shows matches it
  fz:LETTERS          what the row shows has them in this order
  !TERM               the opposite
  \"two words\"         blanks and signs as they are
Sizes: KB MB GB are 1000s; KiB MiB GiB and bare K M G are 1024s. Durations: 90s 15m 36h 7d 2w 3mo
1y, or sums like 1d12h; m is minutes. Dates: 2026-08-01 or RFC 3339.
A wrong field name tells which there are; the help of each command lists them.";

const JSON: &str = "\
--json writes one object:
  {\"schema\":\"cachedeck.index-list/1\",\"location\":{..},\"items\":[..],\"warnings\":[..],\"complete\":true}
  location  has type, the keys as given (secrets as ***) and title. With several locations it is
            null, locations lists them, and every item has a location of its own: .items[] works
            either way
  warnings  findings about the location: severity, code, digest, message, remedy
  complete  false if something could not be read, or --limit cut something off
What is unknown is null, never left out. Numbers are integers, bytes and counts alike; times are
RFC 3339 in UTC; digests are whole. Within a schema fields are only ever added. docs/json.md in
the sources describes each.

  --json=FIELD,..          only these fields in the items
  --format jsonl           a line an item, with its type
  --format '{{.field}}'    a line an item, as in '{{human .max_bytes}} {{ago .created_at}}';
                           {{json .tags}} for lists and objects

With --json errors are JSON too, on stderr:
  {\"type\":\"error\",\"code\":..,\"exit\":..,\"message\":..,\"hint\":..,\"location\":..}";

/// Each topic as a hidden command, so that `help` knows it.
pub(super) fn commands() -> impl Iterator<Item = clap::Command> {
    TOPICS.iter().map(|(name, text)| {
        clap::Command::new(*name).about(*text).hide(true).help_template("{about}\n").disable_help_flag(true)
    })
}

/// Prints a topic.
pub(super) fn show(name: &str, session: &mut Session) -> Outcome {
    let Some((_, words)) = TOPICS.iter().find(|(topic, _)| *topic == name) else {
        return Err(Error::invalid(format!("no command {}", text::safe(name))).into());
    };
    session.out.line(words.trim_end())?;
    session.out.flush()?;
    Ok(Exit::Done)
}
