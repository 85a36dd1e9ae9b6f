//! `sinkscope top`: what the running server is asked just now, live in the terminal.

mod moment;
mod screen;
mod window;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use self::moment::Moment;
use self::screen::Screen;
use self::window::Window;
use super::remote::{Remote, fail};
use super::{Global, PROBLEMS, USAGE, print, say};
use crate::control::api::types::CountersShown;
use crate::control::client::{Client, Trouble};
use crate::problem::Problem;

/// Between two looks at keys.
const LOOK: Duration = Duration::from_millis(100);
/// Before a stream that ended is listened to again, and before a server that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// Columns and rows of what is printed once: a wide terminal.
const ONCE: (u16, u16) = (100, 34);

/// Arguments of `sinkscope top`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Count anew every so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub every: u64,
    /// Print what is so in the next seconds, and end
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take a comment here for help text")]
    pub remote: Remote,
}

/// What is heard of queries, by the thread that listens.
type Heard = Arc<Mutex<Window>>;

/// Shows it until somebody has seen enough.
pub fn run(global: &Global, args: &Args) -> ExitCode {
    if args.remote.json && !args.once {
        say(&[Problem::error("--json", None, "is for programs").hint("say --once as well")]);
        return ExitCode::from(USAGE);
    }
    let (client, listener) =
        match args.remote.client(global).and_then(|a| Ok((a, args.remote.client(global)?))) {
            Ok(clients) => clients,
            Err(code) => return code,
        };
    // What it counts is asked for before anything is drawn: a server that is not there is said as by any other command.
    let first = match count(&client) {
        Ok(first) => first,
        Err(trouble) => return fail(&trouble),
    };
    let (heard, every) = (Heard::default(), Duration::from_secs(args.every));
    thread::spawn({
        let heard = Arc::clone(&heard);
        move || listen(&listener, &heard)
    });
    if args.once {
        return once(&client, args, &first, &heard);
    }
    if !io::stdout().is_terminal() {
        say(&[Problem::error("top", None, "this is no terminal to draw on")
            .hint("say --once for what is so now, and --json for programs")]);
        return ExitCode::from(USAGE);
    }
    let counted = counted(client, every);
    let ends = ends();
    // It also has a panic leave the terminal as it was.
    let shown = ratatui::try_init().and_then(|mut terminal| {
        let shown = show(&mut terminal, first, &counted, &heard, &ends);
        ratatui::restore();
        shown
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&[Problem::error("top", None, format!("the terminal cannot be used: {error}"))]);
            ExitCode::from(PROBLEMS)
        }
    }
}

/// Prints what is so in the next seconds.
fn once(client: &Client, args: &Args, first: &CountersShown, heard: &Heard) -> ExitCode {
    thread::sleep(Duration::from_secs(args.every));
    let second = match count(client) {
        Ok(second) => second,
        Err(trouble) => return fail(&trouble),
    };
    let moment = Moment::of(first, &second, &mut lock(heard), Instant::now());
    if args.remote.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&moment).unwrap_or_default()));
    } else {
        let mut screen = Screen::default();
        screen.show(moment);
        print(&screen.text(ONCE));
    }
    ExitCode::SUCCESS
}

/// Draws until a key or a signal ends it.
fn show(
    terminal: &mut DefaultTerminal,
    first: CountersShown,
    counted: &Receiver<Result<CountersShown, Trouble>>,
    heard: &Heard,
    ends: &AtomicBool,
) -> io::Result<()> {
    let (mut before, mut screen) = (first, Screen::default());
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        // Keys are looked at until there is something to draw, so that whoever wants to quit waits for no server.
        loop {
            if event::poll(LOOK)? {
                match event::read()? {
                    Event::Key(key)
                        if key.kind != KeyEventKind::Release && quits(key.code, key.modifiers) =>
                    {
                        return Ok(());
                    }
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            if ends.load(Ordering::Relaxed) {
                return Ok(());
            }
            match counted.try_recv() {
                Ok(Ok(now)) => {
                    screen.show(Moment::of(&before, &now, &mut lock(heard), Instant::now()));
                    before = now;
                    break;
                }
                Ok(Err(trouble)) => {
                    screen.fails(trouble.failure.error);
                    break;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }
}

/// Whether a key has it end. In raw mode Ctrl-C is a key like others.
fn quits(code: KeyCode, modifiers: KeyModifiers) -> bool {
    match code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

/// Counters as they are asked for, by a thread of its own: a server may take its time.
fn counted(client: Client, every: Duration) -> Receiver<Result<CountersShown, Trouble>> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        loop {
            thread::sleep(every);
            if tell.send(count(&client)).is_err() {
                return;
            }
        }
    });
    told
}

/// Asks for counters.
fn count(client: &Client) -> Result<CountersShown, Trouble> {
    client.get("/v1/counters")
}

/// Hears of queries for ever.
fn listen(client: &Client, heard: &Heard) {
    loop {
        let listened = client.listen("/v1/queries", |event| {
            lock(heard).hear(&event, Instant::now());
            ControlFlow::Continue(())
        });
        lock(heard).is_deaf(listened.err().map(|trouble| trouble.failure));
        thread::sleep(PAUSE);
    }
}

/// Becomes true when the process is told to end: then the terminal is given back first.
fn ends() -> Arc<AtomicBool> {
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without, a signal ends the process as it ends any other.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let [Ok(mut term), Ok(mut hang_up), Ok(mut interrupt)] =
                [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal)
            else {
                return;
            };
            tokio::select! {
                _ = term.recv() => {}
                _ = hang_up.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.store(true, Ordering::Relaxed);
        });
    });
    ends
}

/// What a lock holds; whoever panicked with it left it whole.
fn lock(heard: &Heard) -> MutexGuard<'_, Window> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_quit() {
        for (code, modifiers, expected) in [
            (KeyCode::Char('q'), KeyModifiers::NONE, true),
            (KeyCode::Esc, KeyModifiers::NONE, true),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, true),
            (KeyCode::Char('c'), KeyModifiers::NONE, false),
            (KeyCode::Char('x'), KeyModifiers::NONE, false),
        ] {
            assert_eq!(quits(code, modifiers), expected, "{code:?} {modifiers:?}");
        }
    }
}
