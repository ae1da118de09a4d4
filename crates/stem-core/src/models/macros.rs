//! What several models have in common, word for word.

/// Whatever an enum of models is asked, it asks the model that it holds.
macro_rules! ask_model {
    ($($variant:ident),+) => {
        fn forward(&self, x: Pooled) -> Tensor<2> {
            match self { $(Self::$variant(model) => model.forward(x)),+ }
        }
        fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
            match self { $(Self::$variant(model) => model.gates(x)),+ }
        }
        fn penalty(&self, logits: &Tensor<2>) -> Option<Tensor<1>> {
            match self { $(Self::$variant(model) => model.penalty(logits)),+ }
        }
        fn forward_penalized(&self, x: Pooled) -> (Tensor<2>, Option<Tensor<1>>) {
            match self { $(Self::$variant(model) => model.forward_penalized(x)),+ }
        }
    };
}

/// Whatever an enum of configurations is asked, it asks the one that it holds. `$model` is the enum of the models that they build.
macro_rules! ask_config {
    ($model:ident: $($variant:ident),+) => {
        ask_facts!($($variant),+);

        fn check(&self, schema: &Schema) -> Result<()> {
            match self { $(Self::$variant(config) => config.check(schema)),+ }
        }
        fn size(&self, schema: &Schema) -> NetworkSize {
            match self { $(Self::$variant(config) => config.size(schema)),+ }
        }
        fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Self::Model {
            match self { $(Self::$variant(config) => $model::$variant(config.init(schema, rng, device))),+ }
        }
    };
}

/// All but what depends on what is built.
macro_rules! ask_facts {
    ($($variant:ident),+) => {
        fn name(&self) -> &'static str {
            match self { $(Self::$variant(config) => config.name()),+ }
        }
        fn widths(&self, schema: &Schema) -> Vec<usize> {
            match self { $(Self::$variant(config) => config.widths(schema)),+ }
        }
        fn front(&self) -> crate::front::FrontConfig {
            match self { $(Self::$variant(config) => config.front()),+ }
        }
        fn tower_inputs(&self, schema: &Schema) -> Vec<usize> {
            match self { $(Self::$variant(config) => config.tower_inputs(schema)),+ }
        }
        fn embedding_groups(&self, schema: &Schema) -> Vec<usize> {
            match self { $(Self::$variant(config) => config.embedding_groups(schema)),+ }
        }
        fn gate_groups(&self, schema: &Schema) -> Vec<usize> {
            match self { $(Self::$variant(config) => config.gate_groups(schema)),+ }
        }
        fn trains_apart(&self) -> bool {
            match self { $(Self::$variant(config) => config.trains_apart()),+ }
        }
        fn tasks_stand_apart(&self) -> bool {
            match self { $(Self::$variant(config) => config.tasks_stand_apart()),+ }
        }
        fn penalty_is_of_rows(&self) -> bool {
            match self { $(Self::$variant(config) => config.penalty_is_of_rows()),+ }
        }
    };
}

/// A model of a family: a configuration of sizes alone, `$check` that refuses some, the `$wiring` that makes the model of them, and
/// what else sets it apart.
macro_rules! variant {
    (
        $(#[$attribute:meta])*
        $config:ident($sizes:ty) = $name:literal: $check:path, $binding:ident => $wiring:expr, $model:ty
        $({ $($method:item)* })?
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $config(pub $sizes);

        impl ModelSpec for $config {
            type Model = $model;

            fn name(&self) -> &'static str {
                $name
            }
            fn check(&self, _: &Schema) -> Result<()> {
                $check(&self.0)
            }
            fn widths(&self, schema: &Schema) -> Vec<usize> {
                let $binding = &self.0;
                $wiring.widths(schema)
            }
            fn front(&self) -> crate::front::FrontConfig {
                self.0.front.clone()
            }
            fn tower_inputs(&self, schema: &Schema) -> Vec<usize> {
                let $binding = &self.0;
                $wiring.tower_inputs(schema)
            }
            fn size(&self, schema: &Schema) -> NetworkSize {
                let $binding = &self.0;
                $wiring.size(schema)
            }
            fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> $model {
                let $binding = &self.0;
                $wiring.init(schema, rng, device)
            }
            $($($method)*)?
        }
    };
}
