//! The rules of a policy as the planner shows them: what each is called, what it is set to, how it is switched, and how the
//! command line says it.

use crate::error::{Error, Result};
use crate::model::digest::DigestPrefix;
use crate::model::plan::Plan;
use crate::model::policy::GroupBy;
use crate::model::units::{Bytes, Limit, SizeStyle, count, parse_duration};
use crate::ops::prune::Wish;
use crate::tui::screen::Rule;
use jiff::SignedDuration;

/// All rules, in the order they are shown.
pub(super) const RULES: [Rule; 17] = [
    Rule::KeepPins,
    Rule::KeepLast,
    Rule::KeepWithin,
    Rule::KeepHourly,
    Rule::KeepDaily,
    Rule::KeepWeekly,
    Rule::KeepMonthly,
    Rule::KeepNames,
    Rule::MaxSize,
    Rule::GroupBy,
    Rule::Sweep,
    Rule::Grace,
    Rule::Settle,
    Rule::Exclusive,
    Rule::KeepNone,
    Rule::MaxDelete,
    Rule::MaxDeleteSize,
];

impl Rule {
    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Rule::KeepLast => "keep the last of each",
            Rule::KeepWithin => "keep younger than",
            Rule::KeepHourly => "keep hourly",
            Rule::KeepDaily => "keep daily",
            Rule::KeepWeekly => "keep weekly",
            Rule::KeepMonthly => "keep monthly",
            Rule::KeepNames => "keep names like",
            Rule::KeepPins => "keep pins, always",
            Rule::KeepNone => "keep nothing but pins",
            Rule::MaxSize => "at most",
            Rule::GroupBy => "group by",
            Rule::Sweep => "sweep orphans",
            Rule::Grace => "grace for young blobs",
            Rule::Settle => "settle before freeing",
            Rule::Exclusive => "no build is writing",
            Rule::MaxDelete => "refuse beyond blobs",
            Rule::MaxDeleteSize => "refuse beyond size",
        }
    }

    /// What may be typed for it, or what it means.
    pub fn hint(self) -> &'static str {
        match self {
            Rule::KeepLast => "a number: so many of the newest of each group stay; nothing switches it off",
            Rule::KeepWithin => "like 14d or 36h: what is younger stays; nothing switches it off",
            Rule::KeepHourly => "a number: the newest of each of the last so many hours with one stays",
            Rule::KeepDaily => "a number: the newest of each of the last so many days with one stays",
            Rule::KeepWeekly => "a number: the newest of each of the last so many weeks with one stays",
            Rule::KeepMonthly => "a number: the newest of each of the last so many months with one stays",
            Rule::KeepNames => "patterns like main,rel* with commas between; nothing switches it off",
            Rule::KeepPins => "what is pinned always stays; p on a version pins it or takes the pin away",
            Rule::KeepNone => "no version stays but pins: to clear a location",
            Rule::MaxSize => "like 20GiB or 80%: the oldest of what no rule keeps go until the rest fits",
            Rule::GroupBy => "name, scope, ref or none: what versions are counted by",
            Rule::Sweep => "blobs that no version needs, and unfinished uploads, go too",
            Rule::Grace => "like 1h: what is younger stays, as a build may be about to use it",
            Rule::Settle => "like 6h: how long what goes can come back before its space is freed",
            Rule::Exclusive => "your word that no build is writing: no grace, and freed at once, without undo",
            Rule::MaxDelete => "a number: a plan that removes more blobs is refused",
            Rule::MaxDeleteSize => "like 10GiB or 80%: a plan that frees more is refused",
        }
    }

    /// Whether it is on; `None` where it always has a value.
    pub(super) fn is_on(self, wish: &Wish) -> Option<bool> {
        let policy = &wish.policy;
        Some(match self {
            Rule::KeepLast => policy.keep_last.is_some(),
            Rule::KeepWithin => policy.keep_within.is_some(),
            Rule::KeepHourly => policy.keep_hourly.is_some(),
            Rule::KeepDaily => policy.keep_daily.is_some(),
            Rule::KeepWeekly => policy.keep_weekly.is_some(),
            Rule::KeepMonthly => policy.keep_monthly.is_some(),
            Rule::KeepNames => !policy.keep_tags.is_empty(),
            Rule::KeepPins => true,
            Rule::KeepNone => policy.keep_none,
            Rule::MaxSize => policy.max_size.is_some(),
            Rule::Sweep => wish.sweep,
            Rule::Exclusive => wish.exclusive,
            Rule::MaxDelete => wish.max_delete.is_some(),
            Rule::MaxDeleteSize => wish.max_delete_size.is_some(),
            Rule::GroupBy | Rule::Grace | Rule::Settle => return None,
        })
    }

    /// Switches it on, with a usual value, or off. `false` for what has no switch.
    pub(super) fn switch(self, wish: &mut Wish) -> bool {
        fn turn<T>(value: &mut Option<T>, usual: T) {
            *value = if value.is_some() { None } else { Some(usual) };
        }
        let policy = &mut wish.policy;
        match self {
            Rule::KeepLast => turn(&mut policy.keep_last, 3),
            Rule::KeepWithin => turn(&mut policy.keep_within, SignedDuration::from_hours(14 * 24)),
            Rule::KeepHourly => turn(&mut policy.keep_hourly, 24),
            Rule::KeepDaily => turn(&mut policy.keep_daily, 7),
            Rule::KeepWeekly => turn(&mut policy.keep_weekly, 5),
            Rule::KeepMonthly => turn(&mut policy.keep_monthly, 12),
            Rule::KeepNone => policy.keep_none = !policy.keep_none,
            Rule::MaxSize => turn(&mut policy.max_size, Limit::Percent(80.0)),
            Rule::Sweep => wish.sweep = !wish.sweep,
            Rule::Exclusive => wish.exclusive = !wish.exclusive,
            Rule::MaxDelete => turn(&mut wish.max_delete, 10_000),
            Rule::MaxDeleteSize => turn(&mut wish.max_delete_size, Limit::Percent(100.0)),
            Rule::GroupBy => {
                policy.group_by = match policy.group_by {
                    None => Some(GroupBy::Name),
                    Some(GroupBy::Name) => Some(GroupBy::None),
                    Some(_) => None,
                };
            }
            Rule::KeepNames if !policy.keep_tags.is_empty() => policy.keep_tags.clear(),
            Rule::KeepNames | Rule::KeepPins | Rule::Grace | Rule::Settle => return false,
        }
        true
    }

    /// Whether it has a value that can be typed.
    pub(super) fn is_typed(self) -> bool {
        !matches!(self, Rule::KeepPins | Rule::KeepNone | Rule::Sweep | Rule::Exclusive)
    }

    /// Its value as typed; empty without one.
    pub(super) fn typed(self, wish: &Wish) -> String {
        let policy = &wish.policy;
        let number = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default();
        let span = |span: Option<SignedDuration>| span.map(duration).unwrap_or_default();
        match self {
            Rule::KeepLast => number(policy.keep_last),
            Rule::KeepWithin => span(policy.keep_within),
            Rule::KeepHourly => number(policy.keep_hourly),
            Rule::KeepDaily => number(policy.keep_daily),
            Rule::KeepWeekly => number(policy.keep_weekly),
            Rule::KeepMonthly => number(policy.keep_monthly),
            Rule::KeepNames => policy.keep_tags.join(","),
            Rule::MaxSize => policy.max_size.map(limit).unwrap_or_default(),
            Rule::GroupBy => policy.group_by.map(|by| by.name().to_owned()).unwrap_or_default(),
            Rule::Grace => span(wish.grace),
            Rule::Settle => span(wish.settle),
            Rule::MaxDelete => wish.max_delete.map(|n| n.to_string()).unwrap_or_default(),
            Rule::MaxDeleteSize => wish.max_delete_size.map(limit).unwrap_or_default(),
            Rule::KeepPins | Rule::KeepNone | Rule::Sweep | Rule::Exclusive => String::new(),
        }
    }

    /// Gives it the value that was typed; nothing typed switches it off.
    pub(super) fn set(self, wish: &mut Wish, typed: &str) -> Result<()> {
        let typed = typed.trim();
        let some = (!typed.is_empty()).then_some(typed);
        let number = || some.map(whole).transpose();
        let small = || -> Result<Option<u32>> {
            let n = number()?;
            n.map(|n| u32::try_from(n).map_err(|_| Error::invalid("that is too many"))).transpose()
        };
        let span = || some.map(span).transpose();
        let policy = &mut wish.policy;
        match self {
            Rule::KeepLast => policy.keep_last = small()?,
            Rule::KeepWithin => policy.keep_within = span()?,
            Rule::KeepHourly => policy.keep_hourly = small()?,
            Rule::KeepDaily => policy.keep_daily = small()?,
            Rule::KeepWeekly => policy.keep_weekly = small()?,
            Rule::KeepMonthly => policy.keep_monthly = small()?,
            Rule::KeepNames => {
                let globs = typed.split(',').map(str::trim).filter(|glob| !glob.is_empty());
                policy.keep_tags = globs.map(str::to_owned).collect();
            }
            Rule::MaxSize => policy.max_size = some.map(str::parse).transpose()?,
            Rule::GroupBy => {
                let all = [GroupBy::Name, GroupBy::Scope, GroupBy::Ref, GroupBy::None];
                let named = |text: &str| all.into_iter().find(|by| by.name() == text);
                let unknown = || Error::invalid("that is none of name, scope, ref and none");
                policy.group_by = some.map(|text| named(text).ok_or_else(unknown)).transpose()?;
            }
            Rule::Grace => wish.grace = span()?,
            Rule::Settle => wish.settle = span()?,
            Rule::MaxDelete => wish.max_delete = number()?,
            Rule::MaxDeleteSize => wish.max_delete_size = some.map(str::parse).transpose()?,
            Rule::KeepPins | Rule::KeepNone | Rule::Sweep | Rule::Exclusive => {}
        }
        Ok(())
    }

    /// Its value for people; where none is set, what holds at the place.
    pub(super) fn shown(self, wish: &Wish, plan: Option<&Plan>, pins: usize) -> String {
        let typed = self.typed(wish);
        let promised = |span: fn(&Plan) -> SignedDuration| plan.map(|plan| duration(span(plan))).unwrap_or_default();
        match self {
            Rule::KeepPins => count(pins, "pin"),
            Rule::KeepNone | Rule::Sweep | Rule::Exclusive => String::new(),
            Rule::MaxSize | Rule::MaxDeleteSize => {
                let limit = if self == Rule::MaxSize { wish.policy.max_size } else { wish.max_delete_size };
                match limit {
                    Some(Limit::Size(bytes)) => bytes.show(SizeStyle::default()),
                    _ => typed,
                }
            }
            Rule::Grace => promised(|plan| plan.promise.grace),
            Rule::Settle => promised(|plan| plan.promise.settle),
            Rule::GroupBy if typed.is_empty() => "usual".to_owned(),
            _ => typed,
        }
    }
}

fn whole(typed: &str) -> Result<u64> {
    typed.parse().map_err(|error| Error::invalid("that is no whole number").with_source(error))
}

fn span(typed: &str) -> Result<SignedDuration> {
    // `0` needs no unit.
    let given = if typed == "0" { "0s" } else { typed };
    SignedDuration::try_from(parse_duration(given)?)
        .map_err(|error| Error::invalid("that is too long").with_source(error))
}

/// A duration as it is typed, to the second.
pub(super) fn duration(span: SignedDuration) -> String {
    let mut left = span.unsigned_abs().as_secs();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (scale, unit) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        if left >= scale {
            text.push_str(&format!("{}{unit}", left / scale));
            left %= scale;
        }
    }
    text
}

/// A limit as it is typed, to the byte.
fn limit(limit: Limit) -> String {
    match limit {
        Limit::Percent(percent) => format!("{percent}%"),
        Limit::Size(Bytes(bytes)) => {
            let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
            let whole = units.into_iter().find(|(scale, _)| bytes >= *scale && bytes % scale == 0);
            whole.map_or_else(|| bytes.to_string(), |(scale, unit)| format!("{}{unit}", bytes / scale))
        }
    }
}

/// The options of `cachedeck prune` that want the same.
pub(super) fn options(wish: &Wish) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    let policy = &wish.policy;
    let valued = [
        ("--keep-last", Rule::KeepLast),
        ("--keep-within", Rule::KeepWithin),
        ("--keep-hourly", Rule::KeepHourly),
        ("--keep-daily", Rule::KeepDaily),
        ("--keep-weekly", Rule::KeepWeekly),
        ("--keep-monthly", Rule::KeepMonthly),
        ("--max-size", Rule::MaxSize),
        ("--group-by", Rule::GroupBy),
        ("--grace", Rule::Grace),
        ("--settle", Rule::Settle),
        ("--max-delete", Rule::MaxDelete),
        ("--max-delete-size", Rule::MaxDeleteSize),
    ];
    for (option, rule) in valued {
        let typed = rule.typed(wish);
        if !typed.is_empty() {
            add(option, typed);
        }
    }
    policy.keep_tags.iter().for_each(|glob| add("--keep-tag", glob.clone()));
    policy.keep_digests.iter().map(DigestPrefix::to_string).for_each(|digest| add("--keep-digest", digest));
    policy.remove.iter().for_each(|which| add("--remove", which.clone()));
    policy.keep.iter().for_each(|which| add("--keep", which.clone()));
    let flags = [(policy.keep_none, "--keep-none"), (!wish.sweep, "--no-sweep"), (wish.exclusive, "--exclusive")];
    words.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, option)| option.to_owned()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::policy::Policy;

    #[test]
    fn what_is_typed_is_what_the_command_says() {
        let mut wish = Wish::prune(Policy::default());
        assert!(options(&wish).is_empty());
        let typed = [
            (Rule::KeepLast, "3"),
            (Rule::KeepWithin, "1d12h"),
            (Rule::KeepNames, "main, rel*"),
            (Rule::MaxSize, "20GiB"),
            (Rule::Grace, "0"),
            (Rule::GroupBy, "none"),
        ];
        for (rule, text) in typed {
            rule.set(&mut wish, text).unwrap();
        }
        wish.sweep = false;
        assert_eq!(
            options(&wish).join(" "),
            "--keep-last 3 --keep-within 1d12h --max-size 20GiB --group-by none --grace 0s --keep-tag main \
             --keep-tag rel* --no-sweep"
        );
        Rule::KeepLast.set(&mut wish, " ").unwrap();
        assert_eq!(wish.policy.keep_last, None, "nothing typed switches it off");
        assert!(Rule::KeepLast.set(&mut wish, "-3").is_err());
        assert!(Rule::GroupBy.set(&mut wish, "tag").is_err());
    }

    #[test]
    fn every_switch_goes_on_and_off_again() {
        let usual = Wish::prune(Policy::default());
        for rule in RULES {
            let mut wish = usual.clone();
            let before = rule.is_on(&wish);
            if rule.switch(&mut wish) && before.is_some() {
                assert_ne!(rule.is_on(&wish), before, "{rule:?}");
                assert!(rule.switch(&mut wish));
                assert_eq!(wish, usual, "{rule:?}");
            }
        }
    }
}
