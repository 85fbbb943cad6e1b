//! A report in JUnit's form: a suite for each group of checks.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{Outcome, Report, Tried};

pub(super) fn report(report: &Report) -> Junit {
    let mut junit = Junit::new(format!("{} {} ({})", report.name, report.version, report.component));
    junit.set_time(report.elapsed);
    for checks in report.tried.chunk_by(|one, next| group(one) == group(next)) {
        let mut suite = TestSuite::new(checks.first().map(group).unwrap_or_default());
        suite.add_test_cases(checks.iter().map(case));
        junit.add_test_suite(suite);
    }
    junit
}

fn group(tried: &Tried) -> &'static str {
    tried.name.split_once('.').map_or(tried.name, |(group, _)| group)
}

fn case(tried: &Tried) -> TestCase {
    let status = match &tried.outcome {
        Outcome::Kept => TestCaseStatus::success(),
        Outcome::Skipped(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(*reason);
            status
        }
        Outcome::Broken(reason) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(tried.promise).set_description(reason.clone());
            status
        }
    };
    let mut case = TestCase::new(tried.name, status);
    case.set_time(tried.elapsed);
    case
}
