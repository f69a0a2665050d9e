"""The live window and the replay of a recording: the same picture, with controls.

`LiveView` runs the window in a process of its own, fed by a bounded queue. The simulator hands
over a copy of each tick and goes on at once; when the queue is full the tick is not shown. So
watching can neither slow a run down nor change it, whatever the window does.
"""

from __future__ import annotations

import multiprocessing as mp
import queue as queues
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from agentsc.view.picture import Picture
from agentsc.view.recording import Recorder, Scene, Source, Strip, Tick
from envs.errors import ConfigError
from envs.render import THEME, load_pygame, write

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pygame import Surface
    from pygame.event import Event

KEYS = "space pause   . , step   arrows seek   + - speed   click or tab select   end newest   q quit"

_FRAMES_PER_S = 60
_QUEUE = 256  # ticks that may wait for the window
_KEEP = 4096  # ticks that the window remembers at most
_SLOWEST, _FASTEST = 1 / 8, 64.0
_READY_S = 20.0  # a window that takes longer to open is given up


class Player:
    """What a window shows and how keys and clicks change it; needs no display itself.

    Args:
        source: a `Recording`, or a `Recorder` that still grows.
        live: keep up with the newest tick until the viewer pauses, steps or seeks.
        size: (width, height) of the window, pixels; chosen to suit the map when None.

    Attributes:
        time_s: the instant shown. playing: whether it moves. speed: seconds of the run per
        second. follow: keeping up with the newest tick. selected: an agent, or None.
    """

    def __init__(self, source: Source, *, live: bool = False, size: tuple[int, int] | None = None) -> None:
        self.source = source
        self.picture = Picture(source.scene, size, footer=KEYS)
        self.playing, self.follow = True, live
        self.speed = 1.0 if live else float(2.0 ** np.round(np.log2(max(source.pace(), _SLOWEST))))
        self.selected: int | None = None
        self.time_s = 0.0
        self._live, self._dragging = live, False
        self._strip: tuple[int, Strip] = (-1, source.strip())

    def resize(self, size: tuple[int, int]) -> None:
        """Lay the picture out for another window."""
        self.picture = Picture(self.source.scene, (max(size[0], 640), max(size[1], 520)), footer=KEYS)

    def seek(self, time_s: float) -> None:
        """Jump to a time; stops following."""
        self.time_s = float(np.clip(time_s, 0.0, self.source.duration_s))
        self.follow = False

    def step(self, ticks: int) -> None:
        """Pause, and move to the end of a neighbouring tick."""
        self.playing = False
        dt = self.source.scene.dt
        here = self.time_s / dt
        # Half a thousandth of a tick: standing at the end of a tick counts as being there.
        whole = np.floor(here + 5e-4) if ticks > 0 else np.ceil(here - 5e-4)
        self.seek((whole + ticks) * dt)

    def advance(self, seconds: float) -> None:
        """Let time pass: ``seconds`` on the viewer's clock."""
        if not self.playing:
            return
        newest = self.source.duration_s
        if self.follow:
            # At least real time, and fast enough to stay within a fraction of a second of the run.
            lag = newest - self.time_s
            self.time_s = min(newest, self.time_s + max(seconds, lag * min(1.0, 4.0 * seconds)))
        else:
            self.time_s = min(newest, self.time_s + seconds * self.speed)

    def handle(self, event: Event) -> bool:
        """Act on one pygame event; False when the viewer wants to leave."""
        pygame = load_pygame()
        if event.type == pygame.QUIT:
            return False
        if event.type == pygame.KEYDOWN:
            return self._key(event.key, getattr(event, "unicode", ""))
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._dragging = self._seek_at(event.pos)
            if not self._dragging:
                self.selected = self.picture.agent_at(self.source.frame(self.time_s), event.pos)
        elif event.type == pygame.MOUSEMOTION and self._dragging:
            self._seek_at(event.pos)
        elif event.type == pygame.MOUSEBUTTONUP:
            self._dragging = False
        return True

    def _seek_at(self, pixel: tuple[int, int]) -> bool:
        when = self.picture.time_at(pixel, self.source.duration_s)
        if when is not None:
            self.seek(when)
        return when is not None

    def _key(self, key: int, text: str) -> bool:
        pygame = load_pygame()
        if key == pygame.K_q or (key == pygame.K_ESCAPE and self.selected is None):
            return False
        if key == pygame.K_ESCAPE:
            self.selected = None
        elif key == pygame.K_SPACE:
            if not self.playing and not self._live and self.time_s >= self.source.duration_s:
                self.time_s = 0.0  # play again
            self.playing = not self.playing
        elif text == "." or key == pygame.K_PERIOD:
            self.step(1)
        elif text == "," or key == pygame.K_COMMA:
            self.step(-1)
        elif key in (pygame.K_LEFT, pygame.K_RIGHT):
            jump = max(self.source.duration_s / 20, self.source.scene.dt)
            self.seek(self.time_s + (jump if key == pygame.K_RIGHT else -jump))
        elif key == pygame.K_HOME:
            self.seek(0.0)
        elif key == pygame.K_END:
            self.seek(self.source.duration_s)
            self.follow, self.playing = self._live, self.playing or self._live
        elif text in ("+", "=") or key == pygame.K_UP:
            self._pace(2.0)
        elif text in ("-", "_") or key == pygame.K_DOWN:
            self._pace(0.5)
        elif key == pygame.K_TAB:
            count = self.source.scene.agents
            following = 0 if self.selected is None else self.selected + 1
            self.selected = following if following < count else None
        return True

    def _pace(self, factor: float) -> None:
        self.speed = float(np.clip(self.speed * factor, _SLOWEST, _FASTEST))
        self.follow = False

    def draw(self) -> Surface:
        """The picture with a line that says what the player does."""
        if self._strip[0] != len(self.source):
            self._strip = (len(self.source), self.source.strip())
        flight = float(np.clip(0.3 * self.speed, self.source.scene.dt, max(1.0, 2 * self.source.scene.dt)))
        surface = self.picture.draw(
            self.source.frame(self.time_s, flight_s=flight),
            self._strip[1],
            duration_s=self.source.duration_s or None,
            selected=self.selected,
        )
        mode = "paused" if not self.playing else "live" if self.follow else f"{self.speed:g}x"
        write(surface, mode, (20, surface.get_height() - 7), 13, THEME.accent, anchor=(0.0, 1.0))
        return surface


def _open(size: tuple[int, int], title: str) -> Surface:
    pygame = load_pygame()
    try:
        pygame.display.init()
        screen = pygame.display.set_mode(size, pygame.RESIZABLE)
    except pygame.error as error:
        raise ConfigError(
            f"view needs a display to open its window on, got none ({error}): "
            "run without --view, or make a film with --record"
        ) from None
    pygame.display.set_caption(title)
    return screen


def _loop(player: Player, screen: Surface, refill: Callable[[], bool], over: Callable[[], bool]) -> None:
    """Show the player until the viewer leaves; an unchanged picture is not drawn again."""
    pygame = load_pygame()
    clock, shown, running = pygame.time.Clock(), None, True
    while running and not over():
        seconds = min(clock.tick(_FRAMES_PER_S) / 1000.0, 0.25)
        fresh = refill()
        for event in pygame.event.get():
            if event.type == pygame.VIDEORESIZE:
                player.resize(event.size)
                screen = pygame.display.get_surface()
            running = player.handle(event) and running
            fresh = True
        player.advance(seconds)
        if fresh or shown != player.time_s:
            screen.blit(player.draw(), (0, 0))
            pygame.display.flip()
            shown = player.time_s


def replay(
    source: Source, *, size: tuple[int, int] | None = None, over: Callable[[], bool] | None = None
) -> None:
    """Show a recording in a window of this process until the viewer leaves.

    Args:
        size: of the window, pixels; chosen to suit the map when None.
        over: asked before every frame; True closes the window.

    Raises:
        ConfigError: no display.
    """
    player = Player(source, size=size)
    try:
        screen = _open(player.picture.size, _title(source.scene))
        _loop(player, screen, lambda: False, over or (lambda: False))
    finally:
        load_pygame().display.quit()


def _title(scene: Scene) -> str:
    return f"agentsc: {scene.meta.get('scenario', 'world')}"


def _window(scene: Scene, ticks: Any, ready: Connection, closing: Any, size: tuple[int, int] | None) -> None:
    """The window's process."""
    history = Recorder(scene)
    player = Player(history, live=True, size=size)
    try:
        screen = _open(player.picture.size, _title(scene))
    except ConfigError as error:
        ready.send(str(error))
        return
    ready.send("")

    def refill() -> bool:
        fresh = False
        until = time.monotonic() + 0.5 / _FRAMES_PER_S
        while time.monotonic() < until:
            try:
                history.keep(ticks.get_nowait())
                fresh = True
            except queues.Empty:
                break
        history.forget(_KEEP)
        return fresh

    try:
        _loop(player, screen, refill, closing.is_set)
    except KeyboardInterrupt:  # the terminal tells the whole group; the run has its own answer
        pass
    finally:
        load_pygame().display.quit()


class LiveView:
    """A window that shows a lane while it runs, in a process of its own.

    Use: ``view.record(tick=…, position=…, …)`` per tick as with a `Recorder`, then ``wait()`` to
    let the viewer look on, or ``close()``.

    Args:
        scene: what stands still.
        size: of the window, pixels; chosen to suit the map when None.

    Attributes:
        shown, dropped: ticks handed to the window, and ticks that it had no room for.

    Raises:
        ConfigError: no display.
    """

    def __init__(self, scene: Scene, *, size: tuple[int, int] | None = None) -> None:
        context = mp.get_context("spawn")  # a fork would inherit threads and CUDA
        self.shown = self.dropped = 0
        self._ticks = context.Queue(_QUEUE)
        self._closing = context.Event()
        answer, ready = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_window,
            args=(scene, self._ticks, ready, self._closing, size),
            daemon=True,
            name="agentsc-view",
        )
        self._process.start()
        ready.close()
        try:
            problem = answer.recv() if answer.poll(_READY_S) else "view did not open its window in time"
        except EOFError:
            problem = "view could not start its window: run without --view, or make a film with --record"
        if problem:
            self.close()
            raise ConfigError(problem)

    @property
    def open(self) -> bool:
        """Whether the window is still there."""
        return self._process.is_alive()

    def record(self, **values: Any) -> None:
        """Offer one tick (fields of `Tick`); returns at once, whether or not it can be shown."""
        if not self.open or self._ticks.full():
            self.dropped += 1
            return
        try:
            self._ticks.put_nowait(Tick.of(**values))  # a copy: pickling happens later, in a thread
            self.shown += 1
        except (queues.Full, ValueError):
            self.dropped += 1

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the viewer closes the window; True when it is closed."""
        self._process.join(seconds)
        return not self._process.is_alive()

    def close(self) -> None:
        """Close the window; calling it twice is fine."""
        self._closing.set()
        self._process.join(2.0)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(2.0)
        self._ticks.cancel_join_thread()  # never wait for ticks that nobody will read
        self._ticks.close()
