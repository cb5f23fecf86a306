//! What `buildx inspect` and the `version` commands of buildx and buildctl print. Meant for people, so whatever is not as it was
//! in the versions seen (buildx `commands/inspect.go`, `commands/version.go`) is unknown, not wrong.

use crate::model::build::{Facts, Version};

/// The longest output that is looked at; a builder with many nodes prints a few kilobytes.
const MOST: usize = 1 << 20;

/// The label by which buildx tells that Docker's own builder keeps images in containerd's store (`driver/docker`).
const STORE_LABEL: &str = "org.mobyproject.buildkit.worker.snapshotter";

/// What `buildx inspect` tells of a builder. The oldest BuildKit of its nodes counts.
pub fn inspected(text: &str) -> Facts {
    let text = text.get(..MOST).unwrap_or(text);
    let mut facts = Facts::default();
    let (mut running, mut labelled) = (false, false);
    let mut oldest: Option<(Option<Version>, String)> = None;
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim();
        let is_field = !line.starts_with([' ', '\t']);
        match key {
            // The builder's name comes first, those of its nodes after it.
            "Name" if is_field && facts.builder.is_none() => facts.builder = Some(value.to_owned()),
            "Driver" if is_field => facts.driver = Some(value.to_owned()),
            "Status" if is_field => running |= value == "running",
            "BuildKit version" | "Buildkit" | "BuildKit" if is_field => {
                let version = Version::parse(value);
                if oldest.as_ref().is_none_or(|(known, _)| version < *known) {
                    oldest = Some((version, value.to_owned()));
                }
            }
            STORE_LABEL => labelled = true,
            _ => {}
        }
    }
    facts.buildkit = oldest.map(|(_, told)| told);
    if facts.driver.as_deref() == Some("docker") && running {
        facts.image_store = Some(labelled);
    }
    facts
}

/// The version in a line such as `github.com/docker/buildx v0.35.0 0e0d8b1`, as it stands there: what follows the word that ends
/// with `/` and `project`.
pub fn version<'a>(text: &'a str, project: &str) -> Option<&'a str> {
    let text = text.get(..MOST).unwrap_or(text);
    let mut words = text.split_whitespace();
    words.find(|word| word.rsplit('/').next() == Some(project) && word.contains('/'))?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_is_read() {
        let text = "Name:          ci\nDriver:        docker-container\nLast Activity: 2026-11-21 17:01:52 +0000 UTC\n\nNodes:\n\
                    Name:             ci0\nEndpoint:         unix:///var/run/docker.sock\nStatus:           running\n\
                    BuildKit version: v0.31.1\nLabels:\n org.mobyproject.buildkit.worker.snapshotter:      overlayfs\n\n\
                    Name:             ci1\nStatus:           running\nBuildKit version: v0.30.0\n";
        let facts = inspected(text);
        assert_eq!(facts.builder.as_deref(), Some("ci"));
        assert_eq!(facts.driver.as_deref(), Some("docker-container"));
        assert_eq!(facts.buildkit.as_deref(), Some("v0.30.0"));
        assert_eq!(facts.image_store, None);
    }

    #[test]
    fn dockers_own_builder_tells_its_image_store() {
        let plain =
            "Name:   default\nDriver: docker\n\nNodes:\nName:     default\nEndpoint: default\nStatus:   running\n";
        assert_eq!(inspected(plain).image_store, Some(false));
        let labelled = format!("{plain}Labels:\n\torg.mobyproject.buildkit.worker.snapshotter:\toverlayfs\n");
        assert_eq!(inspected(&labelled).image_store, Some(true));
        let stopped = plain.replace("running", "inactive");
        assert_eq!(inspected(&stopped).image_store, None);
        assert_eq!(inspected("something else\n"), Facts::default());
    }

    #[test]
    fn versions_are_found() {
        assert_eq!(version("github.com/docker/buildx v0.35.0 0e0d8b1\n", "buildx"), Some("v0.35.0"));
        assert_eq!(version("buildctl github.com/moby/buildkit v0.31.0 abc\n", "buildkit"), Some("v0.31.0"));
        assert_eq!(version("github.com/docker/buildx v0.0.0+unknown \n", "buildx").and_then(Version::parse), None);
        assert_eq!(version("docker: 'buildx' is not a docker command", "buildx"), None);
    }
}
