// How figures, times and states are written.

const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const shortTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });

export const clock = (ms) => (ms ? time.format(ms) : "");
export const clockShort = (ms) => (ms ? shortTime.format(ms) : "");
export const count = (number) => (number < 100000 ? whole.format(number) : compact.format(number));

export function rate(perSecond) {
  if (!perSecond) return "0";
  if (perSecond < 10) return perSecond.toFixed(1);
  return count(perSecond);
}

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60000)} min`;
}

export const total = (counts) => Object.values(counts ?? {}).reduce((sum, each) => sum + each, 0);

// The words of a state, and its tone: good, calm, wait, warn or bad.
const STATES = {
  passed: ["passed", "good"],
  stored: ["stored", "good"],
  delivered: ["delivered", "good"],
  waiting: ["on its way", "wait"],
  retrying: ["will be retried", "warn"],
  parked: ["parked", "warn"],
  dropped: ["dropped", "calm"],
  withheld: ["not sent", "calm"],
  blocked: ["blocked", "warn"],
  dead: ["dead letter", "bad"],
};

export const stateWord = (state) => (STATES[state] ?? [state, "calm"])[0];
export const tone = (state) => (STATES[state] ?? [state, "calm"])[1];

/** An event's name for a person: that of a track call, page, screen or group, else its call. */
export function title(row) {
  if (row.event) return row.event;
  if (!row.type) return "Unreadable event";
  return row.type === "track" ? "(no name)" : row.type[0].toUpperCase() + row.type.slice(1);
}
