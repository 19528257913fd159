use super::*;
use crate::firmware::Org;
use crate::store::StoreError;
use jiff::ToSpan;

struct House {
    people: People,
    store: Store,
    _dir: tempfile::TempDir,
}

fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let people = People::open(store.clone()).unwrap();
    House {
        people,
        store,
        _dir: dir,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn org(text: &str) -> Org {
    text.parse().unwrap()
}

const PASSWORD: &str = "correct horse";

/// Ada, publisher in `dev`, signed in.
async fn ada(house: &House) -> (Secret, Actor) {
    let people = &house.people;
    let console = people.console();
    people
        .add_user(&console, &name("ada"), &secret(PASSWORD), false, at(0))
        .await
        .unwrap();
    let role = Some(Role::Publisher);
    people
        .set_role(&console, &name("ada"), &org("dev"), role, at(0))
        .await
        .unwrap();
    let cookie = people
        .log_in(&name("ada"), &secret(PASSWORD), None, at(0))
        .await
        .unwrap();
    let actor = people.session(&cookie, None, at(1)).unwrap();
    (cookie, actor)
}

fn for_dev(role: Role) -> NewToken {
    NewToken {
        name: "ci".to_owned(),
        org: org("dev"),
        project: None,
        role,
        expires: Some(at(0) + (24 * 365).hours()),
    }
}

#[tokio::test]
async fn a_session_ends_by_logout_password_removal_idleness_and_age() {
    let house = house();
    let people = &house.people;
    let (cookie, actor) = ada(&house).await;
    people.log_out(&actor, &cookie, at(2)).await.unwrap();
    assert!(people.session(&cookie, None, at(2)).is_none());

    let login = || async {
        people
            .log_in(&name("ada"), &secret(PASSWORD), None, at(3))
            .await
            .unwrap()
    };
    let cookie = login().await;
    people
        .set_password(&actor, &name("ada"), &secret(PASSWORD), at(4))
        .await
        .unwrap();
    assert!(people.session(&cookie, None, at(4)).is_none());

    let cookie = login().await;
    assert!(people.session(&cookie, None, at(3) + 11.hours()).is_some());
    assert!(people.session(&cookie, None, at(3) + 24.hours()).is_none());
    for hours in (0..7 * 24).step_by(11).skip(1) {
        assert!(
            people
                .session(&cookie, None, at(3) + hours.hours())
                .is_some(),
            "{hours}"
        );
    }
    assert!(
        people
            .session(&cookie, None, at(3) + (7 * 24).hours())
            .is_none()
    );

    let cookie = login().await;
    people
        .remove_user(&people.console(), &name("ada"), at(5))
        .await
        .unwrap();
    assert!(people.session(&cookie, None, at(5)).is_none());
}

#[tokio::test]
async fn a_role_that_is_taken_is_gone_at_once_for_sessions_and_tokens() {
    let house = house();
    let people = &house.people;
    let (cookie, actor) = ada(&house).await;
    let (_, token) = people
        .add_token(&actor, for_dev(Role::Publisher), at(1))
        .await
        .unwrap();
    let shown = people.token(token.reveal(), None, at(2)).unwrap();
    assert!(shown.may(Role::Publisher, &org("dev"), None).is_ok());
    people
        .set_role(&people.console(), &name("ada"), &org("dev"), None, at(3))
        .await
        .unwrap();
    assert!(people.still(&shown, at(4)).is_none());
    let actor = people.still(&actor, at(4)).unwrap();
    assert!(actor.may(Role::Viewer, &org("dev"), None).is_err());
    let actor = people.session(&cookie, None, at(4)).unwrap();
    assert!(actor.may(Role::Viewer, &org("dev"), None).is_err());
    assert!(people.token(token.reveal(), None, at(4)).is_none());
}

#[tokio::test]
async fn a_token_is_dead_when_revoked_expired_or_changed_by_one_letter() {
    let house = house();
    let people = &house.people;
    let (_, actor) = ada(&house).await;
    let (id, token) = people
        .add_token(&actor, for_dev(Role::Publisher), at(1))
        .await
        .unwrap();
    let text = token.reveal();
    assert!(people.token(text, None, at(2)).is_some());
    assert_eq!(people.tokens(&actor)[0].last_used, Some(at(2)));
    assert!(
        people
            .token(text, None, at(0) + (24 * 365).hours())
            .is_none()
    );
    assert!(people.token(&format!("{text}x"), None, at(2)).is_none());
    assert!(people.token(&text[..text.len() - 1], None, at(2)).is_none());
    people.revoke_token(&actor, &id, at(3)).await.unwrap();
    assert!(people.token(text, None, at(3)).is_none());
    // The next start knows it, too.
    let again = People::open(house.store.clone()).unwrap();
    assert!(again.token(text, None, at(3)).is_none());
    assert_eq!(again.tokens(&actor)[0].revoked, Some(at(3)));
}

#[tokio::test]
async fn nobody_gives_more_than_they_have_and_a_token_gives_nothing() {
    let house = house();
    let people = &house.people;
    let (_, actor) = ada(&house).await;
    let more = people.add_token(&actor, for_dev(Role::Admin), at(1)).await;
    assert!(matches!(more, Err(PeopleError::Denied(_))));
    let console = people.console();
    let (id, token) = people
        .add_token(&console, for_dev(Role::Admin), at(1))
        .await
        .unwrap();
    let admin = people.token(token.reveal(), None, at(2)).unwrap();
    let more = people.add_token(&admin, for_dev(Role::Viewer), at(2)).await;
    assert_eq!(more.err(), Some(Denied::NotByToken.into()));
    let role = people
        .set_role(&admin, &name("ada"), &org("dev"), Some(Role::Admin), at(2))
        .await;
    assert_eq!(role, Err(Denied::NotByToken.into()));
    let revoked = people.revoke_token(&actor, &id, at(3)).await;
    assert!(matches!(revoked, Err(PeopleError::Denied(_))));
    assert!(
        people
            .add_user(&actor, &name("eve"), &secret(PASSWORD), true, at(3))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_hear_the_same_and_are_slowed() {
    let house = house();
    ada(&house).await;
    for user in ["ada", "nobody"] {
        for _ in 0..3 {
            let answer = house
                .people
                .log_in(&name(user), &secret("wrong wrong"), None, at(9))
                .await;
            assert_eq!(answer.err(), Some(PeopleError::WrongLogin));
        }
        let answer = house
            .people
            .log_in(&name(user), &secret(PASSWORD), None, at(9))
            .await;
        assert!(matches!(answer, Err(PeopleError::SlowDown(_))));
    }
}

#[tokio::test]
async fn the_link_makes_one_owner_within_an_hour() {
    let house = house();
    let people = &house.people;
    let redeem = |link: Secret, now| async move {
        people
            .redeem_first_owner(&link, &name("root"), &secret(PASSWORD), None, now)
            .await
    };
    let old = people.first_owner_link(at(0)).await.unwrap().unwrap();
    assert_eq!(
        redeem(old.clone(), at(3600)).await,
        Err(PeopleError::DeadLink)
    );
    let link = people.first_owner_link(at(10)).await.unwrap().unwrap();
    assert_eq!(redeem(old, at(11)).await, Err(PeopleError::DeadLink));
    redeem(link.clone(), at(12)).await.unwrap();
    assert_eq!(redeem(link, at(13)).await, Err(PeopleError::DeadLink));
    assert!(people.first_owner_link(at(14)).await.unwrap().is_none());
    let last = people
        .remove_user(&people.console(), &name("root"), at(15))
        .await;
    assert_eq!(last, Err(PeopleError::LastOwner(name("root"))));
    let last = people
        .set_owner(&people.console(), &name("root"), false, at(15))
        .await;
    assert_eq!(last, Err(PeopleError::LastOwner(name("root"))));
}

#[tokio::test]
async fn a_device_shows_its_own_secret_where_its_org_asks_for_one() {
    let house = house();
    let people = &house.people;
    let console = people.console();
    let node: crate::firmware::NodeId = "node1".parse().unwrap();
    let own = people
        .add_device_secret(&console, &org("dev"), &node, at(0))
        .await
        .unwrap();
    let with =
        |user, secret| people.device_may(&org("dev"), &node, Some(Credential { user, secret }));
    assert_eq!(with(None, "wrong"), DeviceAnswer::Allowed);
    people
        .require_device_secrets(&console, &org("dev"), true, at(1))
        .await
        .unwrap();
    assert_eq!(
        people.device_may(&org("dev"), &node, None),
        DeviceAnswer::Missing
    );
    assert_eq!(
        people.device_may(&org("b"), &node, None),
        DeviceAnswer::Allowed
    );
    assert_eq!(with(None, "wrong"), DeviceAnswer::Wrong);
    assert_eq!(with(Some("node2"), own.reveal()), DeviceAnswer::Wrong);
    assert_eq!(with(Some("node1"), own.reveal()), DeviceAnswer::Allowed);
    assert_eq!(with(None, own.reveal()), DeviceAnswer::Allowed);
    people
        .forget_device_secret(&console, &org("dev"), &node, at(2))
        .await
        .unwrap();
    assert_eq!(with(None, own.reveal()), DeviceAnswer::Wrong);
}

#[tokio::test]
async fn the_log_tells_who_did_what_and_cannot_be_altered() {
    let house = house();
    let people = &house.people;
    let (_, actor) = ada(&house).await;
    let publish = Event {
        org: Some(org("dev")),
        target: Some("dev/key".to_owned()),
        before: Some("aa".to_owned()),
        after: Some("bb".to_owned()),
        ..Event::new(Action::Publish)
    };
    people.record(&actor, publish.clone(), at(7)).await.unwrap();
    let console = people.console();
    let filter = Filter {
        who: Some(Who::User(name("ada"))),
        action: Some(Action::Publish),
        since: Some(at(7)),
        ..Filter::default()
    };
    let found = people.audit(&console, &filter).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].event, found[0].at), (&publish, at(7)));
    let one = |below| {
        let filter = Filter {
            below,
            most: 1,
            ..Filter::default()
        };
        people.audit(&console, &filter).unwrap().remove(0)
    };
    let second = one(Some(one(None).id));
    assert_eq!(second.event.action, Action::LogIn);
    assert!(people.audit(&actor, &Filter::default()).is_err());
    for sql in [
        "DELETE FROM audit",
        "UPDATE audit SET who = 'x'",
        "REPLACE INTO audit SELECT * FROM audit",
    ] {
        let altered = house
            .store
            .write(move |tx| Ok::<_, StoreError>(tx.execute(sql, [])?))
            .await
            .unwrap_err();
        assert!(altered.to_string().contains("append-only"), "{altered}");
    }
}
