//! Agent profiles.

use agent_host_session::id::ProfileId;
use agent_host_session::ports::store::Store as _;
use anyhow::{Context as _, ensure};

use super::{checks, same};

checks! { "profiles", Nothing;
    /// Profiles are saved, replaced, listed by id and deleted; deleting one that is not there is a success.
    async fn are_kept(scratch) {
        let store = &scratch.store;
        let ours = async || {
            let listed = store.list_profiles().await?;
            let ids: Vec<_> = listed.iter().map(|profile| profile.id.clone()).collect();
            ensure!(ids.is_sorted_by(|one, other| one.as_str() < other.as_str()), "profiles are not sorted by id: {ids:?}");
            Ok(listed.into_iter().filter(|profile| scratch.owns(&profile.id)).collect::<Vec<_>>())
        };
        ensure!(ours().await?.is_empty(), "there are profiles that nobody has saved");
        let (a, b, c) = (scratch.profile("a", "A ü💡")?, scratch.profile("b", "B")?, scratch.profile("c", "C")?);
        for profile in [&b, &a, &c] {
            store.save_profile(profile).await.context("saving a profile")?;
        }
        let newer = scratch.profile("b", "new")?;
        store.save_profile(&newer).await.context("saving a profile again")?;
        for _ in 0..2 {
            store.delete_profile(&c.id).await.context("deleting a profile, and once more")?;
        }
        same!(ours().await?, [a.summary(), newer.summary()], "the profiles that are listed");
        same!(store.load_profile(&newer.id).await?, Some(newer), "a profile that was saved again");
        same!(store.load_profile(&c.id).await?, None, "a deleted profile");
        same!(store.load_profile(&ProfileId::new("kit-nobody")?).await?, None, "a profile that never was");
    }
}
