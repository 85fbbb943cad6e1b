/** SQL in a program: values stay apart from the text, and each database gets its own placeholders. */

import type { Dialect, Statement } from "./contract.js";
import { type Parameter, toValue } from "./values.js";

/** A statement, or a piece of one. */
export class Sql {
  /** The text around the parameters: always one piece more than there are parameters. */
  readonly texts: readonly string[];
  readonly parameters: readonly Parameter[];

  constructor(texts: readonly string[], parameters: readonly Parameter[]) {
    this.texts = texts;
    this.parameters = parameters;
  }

  /** The statement as a database of this dialect takes it. */
  statement(dialect: Dialect): Statement {
    const sign = dialect === "sqlite" ? "?" : "$";
    const text = this.texts.reduce((before, after, index) => `${before}${sign}${index}${after}`);
    return { sql: text, params: this.parameters.map(toValue) };
  }
}

/** SQL with parameters, and with other SQL, in its place: sql`SELECT name FROM sessions WHERE id = ${id}`. */
export function sql(literals: TemplateStringsArray, ...parts: readonly (Parameter | Sql)[]): Sql {
  const texts: string[] = [];
  const parameters: Parameter[] = [];
  let text = "";
  for (const [index, literal] of literals.entries()) {
    text += literal;
    const part = parts[index];
    if (index === parts.length) {
      break;
    }
    if (!(part instanceof Sql)) {
      texts.push(text);
      parameters.push(part);
      text = "";
      continue;
    }
    const last = part.texts.length - 1;
    for (const [place, piece] of part.texts.entries()) {
      text += piece;
      if (place < last) {
        texts.push(text);
        text = "";
      }
    }
    parameters.push(...part.parameters);
  }
  texts.push(text);
  return new Sql(texts, parameters);
}

/** SQL out of text that is the program's own. What came from outside is a parameter, never this. */
export const raw = (text: string): Sql => new Sql([text], []);
