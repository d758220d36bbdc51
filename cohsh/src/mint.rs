//! `--mint-ticket`: makes a ticket from a role's secret.
//!
//! Answers for where the secret is found and for what the ticket says unless told otherwise. Never connects, and never
//! prints the secret.

use std::time::{SystemTime, UNIX_EPOCH};

use client::Exit;
use client::state::{Environment, Secret, StateDir, TicketSecrets};
use protocol::role::Role;
use protocol::ticket::{Claims, Key, Scope, Version, mint as seal};

use crate::cli::{Cli, Mint};

/// The ticket that the command line asks for, or the status and the reason why there is none.
pub fn mint(cli: &Cli, env: &Environment) -> Result<String, (Exit, String)> {
    let role = cli.role.unwrap_or(Role::Queen);
    let claims = claims(role, &cli.mint)?;
    let secret = secret(role, cli, env)?;
    let version = if cli.mint.ticket_version.as_deref() == Some("2") {
        Version::V2
    } else {
        Version::V1
    };
    let token = seal(&claims, version, &Key::from_secret(secret.expose()))
        .map_err(|why| (Exit::Usage, why.to_string()))?;
    Ok(token.as_str().to_owned())
}

fn claims(role: Role, mint: &Mint) -> Result<Claims<'_>, (Exit, String)> {
    let mut claims = Claims::with_default_budget(role);
    claims.ttl_s = mint.ticket_ttl_s.or(claims.ttl_s);
    claims.ticks = mint.ticket_ticks.or(claims.ticks);
    claims.ops = mint.ticket_ops.or(claims.ops);
    claims.subject = mint
        .ticket_subject
        .as_deref()
        .filter(|subject| !subject.is_empty());
    if role.is_worker() && claims.subject.is_none() {
        return Err((
            Exit::Usage,
            format!("a ticket for role {role} needs --ticket-subject (a worker id or a scope)"),
        ));
    }
    claims.issued_at_ms = mint.ticket_issued_at_ms.unwrap_or_else(unix_ms);
    claims.quotas = mint.quotas();
    for scope in &mint.ticket_scope {
        let scope = Scope {
            path: &scope.path,
            verb: scope.verb,
            rate_per_s: scope.rate_per_s,
        };
        let max = claims.scopes.capacity();
        claims
            .scopes
            .push(scope)
            .map_err(|_| (Exit::Usage, format!("a ticket has at most {max} scopes")))?;
    }
    Ok(claims)
}

fn unix_ms() -> u64 {
    // A clock before 1970 is taken for 1970: the hive will say that the ticket has expired.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// The role's secret: flags first, then variables, then the state directory.
fn secret(role: Role, cli: &Cli, env: &Environment) -> Result<Secret, (Exit, String)> {
    let unusable = |why: String| (Exit::Authentication, why);
    let given = cli.mint.ticket_secret.clone();
    let config = cli.mint.ticket_config.clone();
    let given = given.or_else(|| {
        if config.is_none() {
            env.var("COHSH_TICKET_SECRET")
        } else {
            None
        }
    });
    if let Some(value) = given {
        return Secret::resolve(&value, env)
            .map_err(|why| unusable(format!("the ticket secret is unusable: {why}")));
    }
    let config = config.or_else(|| env.var("COHSH_TICKET_CONFIG").map(Into::into));
    let (place, secrets) = match config {
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|why| (Exit::Local, format!("cannot read {}: {why}", path.display())))?;
            let secrets = TicketSecrets::parse(&text, env);
            (
                path.clone(),
                secrets.map_err(|why| unusable(format!("{}: {why}", path.display())))?,
            )
        }
        None => {
            let state =
                StateDir::locate(cli.state.as_deref(), env).map_err(|why| unusable(why.to_string()))?;
            let secrets = state.tickets().map_err(|why| unusable(why.to_string()))?;
            (state.tickets_path(), secrets.unwrap_or_default())
        }
    };
    secrets.secret(role).cloned().ok_or_else(|| {
        let place = place.display();
        unusable(format!(
            "no secret for role {role}: give --ticket-secret or --ticket-config, or put it into {place}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use protocol::ticket::SealedTicket;

    fn minted(arguments: &str, env: &Environment) -> Result<String, (Exit, String)> {
        let words = ["cohsh", "--mint-ticket"]
            .into_iter()
            .chain(arguments.split_whitespace());
        mint(&Cli::try_parse_from(words).unwrap(), env)
    }

    #[test]
    fn the_public_vector() {
        // WIRE 2.8: secret bootstrap, ttl 0, issued 0.
        let token = minted(
            "--ticket-secret bootstrap --ticket-ttl-s 0 --ticket-issued-at-ms 0",
            &Environment::empty(),
        );
        let vector = "cohesix-ticket-0100040000000000000000000000000000000000000000.\
                      e9b8bc4e26e2f06725347bdd8983fb3efc170658fc6af53cabb746bef58deddb";
        assert_eq!(token.unwrap(), vector);
    }

    #[test]
    fn what_it_says_is_what_was_asked_for() {
        let arguments = "--role worker-gpu --ticket-subject worker-7 --ticket-secret s --ticket-ops 9";
        let more = "--ticket-scope /gpu:read:2 --ticket-scope /log:read-write --ticket-bandwidth 100";
        let (exit, why) = minted(&format!("{arguments} {more}"), &Environment::empty()).unwrap_err();
        assert_eq!(exit, Exit::Usage);
        assert!(why.contains("version 2"), "{why}");

        for (options, scopes, bandwidth) in [
            (arguments.to_owned(), &[][..], None),
            (
                format!("{arguments} {more} --ticket-version 2"),
                &[("/gpu", 2), ("/log", 0)],
                Some(100),
            ),
        ] {
            let token = minted(&options, &Environment::empty()).unwrap();
            let sealed = SealedTicket::parse(&token).unwrap();
            let claims = sealed.open(&Key::from_secret("s")).unwrap();
            assert_eq!(
                (claims.role, claims.subject, claims.ops),
                (Role::WorkerGpu, Some("worker-7"), Some(9))
            );
            assert_eq!(claims.ttl_s, Some(120), "the role's default");
            assert_eq!(
                claims
                    .scopes
                    .iter()
                    .map(|s| (s.path, s.rate_per_s))
                    .collect::<Vec<_>>(),
                scopes
            );
            assert_eq!(claims.quotas.map(|quotas| quotas.bandwidth_bytes), bandwidth);
            assert!(claims.issued_at_ms > 1_600_000_000_000);
        }
    }

    #[test]
    fn where_the_secret_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let mut secrets = TicketSecrets::new();
        secrets.set(Role::Queen, Secret::new("from-state").unwrap());
        state.write_tickets(&secrets).unwrap();
        let file = dir.path().join("manifest.toml");
        std::fs::write(&file, "[[tickets]]\nrole = \"queen\"\nsecret = \"from-file\"\n").unwrap();

        let at = format!("--ticket-issued-at-ms 1 --state {}", state.path().display());
        let with = |more: &str, env: &Environment| minted(&format!("{at} {more}"), env).unwrap();
        let of = |secret: &str| with(&format!("--ticket-secret {secret}"), &Environment::empty());
        let config = format!("--ticket-config {}", file.display());
        let env = Environment::of([("COHSH_TICKET_SECRET", "from-env")]);
        assert_eq!(with("", &Environment::empty()), of("from-state"));
        assert_eq!(with("", &env), of("from-env"));
        assert_eq!(with(&config, &env), of("from-file"));
        assert_eq!(
            with("--ticket-secret env:COHSH_TICKET_SECRET", &env),
            of("from-env")
        );

        let (exit, why) = minted(
            &format!("{at} --role worker-bus --ticket-subject s"),
            &Environment::empty(),
        )
        .unwrap_err();
        assert_eq!(exit, Exit::Authentication);
        assert!(
            why.contains("worker-bus") && why.contains("tickets.toml"),
            "{why}"
        );
    }

    #[test]
    fn workers_need_a_subject() {
        let (exit, why) = minted("--role worker --ticket-secret s", &Environment::empty()).unwrap_err();
        assert_eq!(exit, Exit::Usage);
        assert!(why.contains("--ticket-subject"), "{why}");
    }
}
