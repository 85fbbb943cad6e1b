//! Random sequences of calls, of the adapter and of the contract itself.

use agent_host_session::id::SessionId;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Store as _};
use agent_host_session::record::{RecordChanges, SessionRecord};
use anyhow::Context as _;
use bytes::Bytes;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{checks, short};
use crate::model::{Answer, Call, Model, Seen, What, sequences};
use crate::scratch::{Scratch, file};

/// Most sequences that are tried to find a shorter one that fails as well.
const SHRINKS: usize = 400;

checks! { "sequences", Nothing;
    /// Whatever calls are made in whatever order, each is answered as the contract says, and what is there afterwards is what it says.
    async fn are_as_the_contract_says(scratch) {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&scratch.seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        let mut tried = 0;
        for _ in 0..scratch.sequences {
            let drawn = sequences().new_tree(&mut runner);
            let mut sequence = drawn.map_err(|reason| anyhow::anyhow!("failed to draw a sequence: {reason}"))?;
            let Some(mut difference) = differs(scratch, &mut tried, &sequence.current()).await? else { continue };
            // A short one is easier to understand.
            let mut goes_on = sequence.simplify();
            while goes_on && tried < SHRINKS {
                goes_on = match differs(scratch, &mut tried, &sequence.current()).await? {
                    Some(shorter) => {
                        difference = shorter;
                        sequence.simplify()
                    }
                    None => sequence.complicate(),
                };
            }
            anyhow::bail!("{difference}\n(the shortest sequence that was found; --seed {} draws it again)", scratch.seed);
        }
    }
}

/// Makes the calls of a sequence; how an answer differs from what the contract says, if one does.
async fn differs(scratch: &Scratch<'_>, tried: &mut usize, calls: &[Call]) -> anyhow::Result<Option<String>> {
    *tried += 1;
    let mut model = Model::default();
    let mut made = Vec::new();
    let loads = [0, 1].map(|session| Call { session, epoch: agent_host_session::id::Epoch::FIRST, what: What::Load });
    for call in calls.iter().chain(&loads) {
        let id = scratch.id(&format!("q{tried}.{}", call.session))?;
        let answer = make(scratch, &id, &model, call).await?;
        let wanted = model.call(call);
        made.push(format!("  {call} -> {}", short(&answer)));
        if answer != wanted {
            return Ok(Some(format!("the last of these calls should have been answered by {}:\n{}", short(&wanted), made.join("\n"))));
        }
    }
    Ok(None)
}

async fn make(scratch: &Scratch<'_>, id: &SessionId, model: &Model, Call { session, epoch, what }: &Call) -> anyhow::Result<Answer> {
    let store = &scratch.store;
    let path = |path: &str| RelativePath::new(path).context("a path of the kit");
    let answer = match what {
        What::Create => {
            let record = SessionRecord { id: id.clone(), name: Some(Model::NAME.to_owned()), ..scratch.record("q", 1)? };
            store.create_session(*epoch, &record).await.map(|()| Answer::Done)
        }
        What::Update { name } => {
            let changes = RecordChanges { name: name.clone(), ..RecordChanges::default() };
            store.update_session(*epoch, id, &changes).await.map(|()| Answer::Done)
        }
        What::Delete => store.delete_session(*epoch, id).await.map(|()| Answer::Done),
        What::Append { stream, at, data } => {
            let offset = model.offset(*session, stream, at);
            store.append(*epoch, id, stream, offset, Bytes::from(data.clone())).await.map(Answer::Length)
        }
        What::Replace { stream, data } => store.replace(*epoch, id, stream, Bytes::from(data.clone())).await.map(Answer::Length),
        What::SaveFile { path, content } => {
            store.save_file(*epoch, id, &file(path, content, 1)?, Bytes::from(content.clone())).await.map(|()| Answer::Done)
        }
        What::DeleteFile { path: name } => store.delete_file(*epoch, id, &path(name)?).await.map(|()| Answer::Done),
        What::Load => store.load_session(id).await.map(|found| {
            Answer::Session(found.map(|found| Seen {
                epoch: found.epoch,
                name: found.record.name,
                streams: found.streams.into_iter().filter(|(_, length)| *length > 0).collect(),
                files: found.files.into_iter().map(|file| (file.path.to_string(), file.size)).collect(),
            }))
        }),
        What::Read { stream, offset, max } => store.read(id, stream, *offset, *max).await.map(|bytes| Answer::Bytes(bytes.to_vec())),
        What::ReadFile { path: name } => store.read_file(id, &path(name)?, 0, 1024).await.map(|bytes| Answer::Bytes(bytes.to_vec())),
    };
    Ok(match answer {
        Ok(answer) => answer,
        Err(Error::NotFound(_)) => Answer::NotFound,
        Err(Error::AlreadyExists(_)) => Answer::AlreadyExists,
        Err(Error::StaleEpoch(epoch)) => Answer::StaleEpoch(epoch),
        Err(Error::OffsetMismatch(length)) => Answer::OffsetMismatch(length),
        Err(error) => Answer::Other(error.to_string()),
    })
}
