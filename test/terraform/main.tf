# What the story applies. Variables change in its second half.
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "message" {
  type = string
}

variable "image" {
  type = string
}

variable "max_size" {
  type = number
}

variable "stage" {
  type = string
}

resource "aws_ecr_repository" "app" {
  name                 = "tf-extra"
  image_tag_mutability = var.stage == "one" ? "MUTABLE" : "IMMUTABLE"
  force_delete         = true
  image_scanning_configuration {
    scan_on_push = true
  }
  tags = { stage = var.stage }
}

resource "aws_ecr_lifecycle_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "keep a few"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.max_size }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_apprunner_auto_scaling_configuration_version" "app" {
  auto_scaling_configuration_name = "tf-scaling"
  max_concurrency                 = 50
  max_size                        = var.max_size
  min_size                        = 1
  tags                            = { stage = var.stage }
  lifecycle {
    create_before_destroy = true # one that a service uses cannot be deleted
  }
}

resource "aws_apprunner_auto_scaling_configuration_version" "default" {
  auto_scaling_configuration_name = "tf-default"
}

resource "aws_apprunner_default_auto_scaling_configuration_version" "app" {
  auto_scaling_configuration_arn = aws_apprunner_auto_scaling_configuration_version.default.arn
}

resource "aws_apprunner_observability_configuration" "app" {
  observability_configuration_name = "tf-traces"
  trace_configuration {
    vendor = "AWSXRAY"
  }
}

resource "aws_apprunner_connection" "app" {
  connection_name = "tf-connection"
  provider_type   = "GITHUB"
  tags            = { stage = var.stage }
}

resource "aws_apprunner_service" "app" {
  service_name                   = "tf-service"
  auto_scaling_configuration_arn = aws_apprunner_auto_scaling_configuration_version.app.arn
  source_configuration {
    auto_deployments_enabled = false
    image_repository {
      image_identifier      = var.image
      image_repository_type = "ECR"
      image_configuration {
        port                          = "8080"
        runtime_environment_variables = { MESSAGE = var.message }
      }
    }
  }
  instance_configuration {
    cpu    = "1024"
    memory = "2048"
  }
  health_check_configuration {
    protocol = "HTTP"
    path     = "/"
    interval = 5
    timeout  = 2
  }
  observability_configuration {
    observability_enabled           = true
    observability_configuration_arn = aws_apprunner_observability_configuration.app.arn
  }
  tags = { stage = var.stage }
}

resource "aws_apprunner_deployment" "app" {
  service_arn = aws_apprunner_service.app.arn
}

resource "aws_cloudwatch_log_group" "app" {
  name              = "/tf/app"
  retention_in_days = var.stage == "one" ? 7 : 14
  tags              = { stage = var.stage }
}

output "url" {
  value = aws_apprunner_service.app.service_url
}
