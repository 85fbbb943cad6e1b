//! A native program on PostgreSQL, with tokio-postgres: statements prepared once, a transaction as its documentation shows it.

use tokio_postgres::{Client, NoTls, Statement};

use super::{CLAIM, EXTEND, INSERT, LOAD, Native, SESSION, TABLES};

pub(super) struct Program {
    client: Client,
    claim: Statement,
    insert: Statement,
    extend: Statement,
    load: Statement,
}

impl Program {
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(TABLES).await?;
        client
            .batch_execute(
                "CREATE TABLE native_chunks (session TEXT NOT NULL, stream TEXT NOT NULL, start BIGINT NOT NULL, data BYTEA NOT NULL,
                                             PRIMARY KEY (session, stream, start))",
            )
            .await?;
        let (claim, insert) = (client.prepare(CLAIM).await?, client.prepare(INSERT).await?);
        let (extend, load) = (client.prepare(EXTEND).await?, client.prepare(LOAD).await?);
        Ok(Self { client, claim, insert, extend, load })
    }
}

impl Native for Program {
    async fn append(&mut self, stream: &str, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        let (start, end) = (i64::try_from(offset)?, i64::try_from(offset)? + i64::try_from(data.len())?);
        let transaction = self.client.transaction().await?;
        transaction.execute(&self.claim, &[&1_i64, &SESSION]).await?;
        transaction.execute(&self.insert, &[&SESSION, &stream, &start, &data]).await?;
        transaction.execute(&self.extend, &[&SESSION, &stream, &end, &start]).await?;
        Ok(transaction.commit().await?)
    }

    async fn load(&mut self) -> anyhow::Result<()> {
        for row in self.client.query(&self.load, &[&SESSION]).await? {
            let _: (i64, Option<i64>, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        }
        Ok(())
    }
}
